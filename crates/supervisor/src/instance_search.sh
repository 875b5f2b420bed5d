# Finds the supervisords of a node. Sent as one line behind `sh -c`, in single quotes, which every login shell hands on as
# they are: hence no single quote, no exclamation mark, no doubled backslash, and no comment behind a command.
# The words are places: s: before a socket, c: before a configuration file.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin;
LC_ALL=C; export LC_ALL;
printf "node %s\n" "$(uname -n)";
own=$(readlink /proc/self/ns/mnt 2>/dev/null);
# Of a configuration file only what says where supervisord listens. Passwords stay on the node.
show_part() {
    head -c 1048576 "$1" 2>/dev/null | tr "\r\037" "  " | sed -n
      -e "s/^\[\([a-z_]*\)\].*/section \1/p"
      -e "s/^\[.*/section -/p"
      -e "s/^[Ff][Ii][Ll][Ee] *[=:] *\(.*\)/file \1/p"
      -e "s/^[Pp][Oo][Rr][Tt] *[=:] *\(.*\)/port \1/p"
      -e "s/^[Uu][Ss][Ee][Rr][Nn][Aa][Mm][Ee] *[=:] *\(.*\)/username \1/p"
      -e "s/^[Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd] *[=:] *..*/password/p"
      -e "s/^[Ii][Dd][Ee][Nn][Tt][Ii][Ff][Ii][Ee][Rr] *[=:] *\(.*\)/identifier \1/p" | head -n 3000;
};
# The patterns of [include] begin at the directory of the file. Most included files only have programs.
show_included() {
  h=${1%/*};
  set -f;
  for g in $(head -c 1048576 "$1" 2>/dev/null | tr "\r" " " | sed -n "/^\[include\]/,/^\[/p" | sed
      -e "/^\[/d"
      -e "/^[;#]/d"
      -e "s/^[Ff][Ii][Ll][Ee][Ss] *[=:]//"
      -e "s/[[:space:]][;#].*//"
      -e "s,%(here)s,.,g"
      -e "s,%(host_node_name)s,$(uname -n),g" | head -c 4096); do
    case $g in /*) ;; *) g=$h/$g ;; esac;
    set +f;
    IFS=;
    for q in $g; do
      if test -f "$q" && grep -q -e "^\[unix_http_server\]" -e "^\[inet_http_server\]" -e "^\[supervisord\]" "$q" 2>/dev/null; then
        printf "part %s\n" "$q";
        show_part "$q";
      fi;
    done;
    unset IFS;
    set -f;
  done;
  set +f;
};
show_config() {
  if test -f "$1" && test -r "$1"; then
    printf "config %s\n" "$1";
    show_part "$1";
    show_included "$1";
  elif test -e "$1"; then
    printf "closed %s\n" "$1";
  else
    h=${1%/*};
    until test -z "$h" || test -d "$h"; do h=${h%/*}; done;
    if test -x "${h:-/}"; then printf "missing %s\n" "$1"; else printf "closed %s\n" "$1"; fi;
  fi;
};
# A process counts by its program, not by a word among its arguments: an editor has the name of the file there too.
for f in $(grep -ls supervisord /proc/[0-9]*/cmdline 2>/dev/null | head -n 300); do
  d=${f%/cmdline};
  cat "$f" 2>/dev/null | tr "\000" "\n" | head -n 40 | {
    IFS= read -r a;
    case ${a##*/} in
      supervisord*) kind=found ;;
      python*|pypy*) kind=python ;;
      *) kind=other ;;
    esac;
    i=0; conf=; before=;
    while IFS= read -r a; do
      i=$((i+1));
      if test $kind = found; then
        case $before in -c|-nc|--configuration) conf=$a ;; esac;
        case $a in
          --configuration=?*) conf=${a#--configuration=} ;;
          -c?*) conf=${a#-c} ;;
        esac;
      fi;
      if test $kind = python && test $i -le 4; then
        case ${a##*/} in supervisord|supervisord.py|supervisor.supervisord|supervisord-[0-9]*) kind=found ;; esac;
      fi;
      before=$a;
    done;
    if test $kind = found; then
      printf "process %s\n" "${d#/proc/}";
      # Only root and its own user see where a process is. A path that depends on that is then not known.
      w=$(readlink "$d/cwd" 2>/dev/null);
      case $conf in
        "") v=${w:-/none}; v=${v%/};
            for c in "$v/supervisord.conf" "$v/etc/supervisord.conf" /etc/supervisord.conf /etc/supervisor/supervisord.conf; do
              test -z "$conf" && test -f "$c" && conf=$c;
            done ;;
        /*) ;;
        *) if test -n "$w"; then conf=${w%/}/$conf; fi ;;
      esac;
      # A container has a file system of its own, where the same path is another file.
      m=$(readlink "$d/ns/mnt" 2>/dev/null);
      case $m in ""|"$own") ;; *) echo elsewhere ;; esac;
      sed -n "s/.*\/\([^\/]*\)\.service\$/unit \1/p" "$d/cgroup" 2>/dev/null | head -n 1;
      ls -l "$d/fd" 2>/dev/null | sed -n "s/.*socket:\[\([0-9]*\)\].*/inode \1/p" | head -n 200;
      case $conf in "") ;; /*) show_config "$conf" ;; *) printf "closed %s\n" "$conf" ;; esac;
    fi;
  };
done;
echo known;
for p do
  case $p in
    s:*)
      p=${p#s:};
      if test -S "$p"; then
        if test -w "$p"; then printf "socket %s\n" "$p"; else printf "forbidden %s\n" "$p"; fi;
      fi ;;
    c:*) if test -e "${p#c:}"; then show_config "${p#c:}"; fi ;;
  esac;
done;
# A socket that somebody listens on has the flag 00010000 (__SO_ACCEPTCON of linux/net.h), and a port the state 0A.
sed -n "s/^[^ ]* [^ ]* [^ ]* 00010000 [^ ]* [^ ]* *\([0-9]*\) \(\/.*\)/listens \1 \2/p" /proc/net/unix 2>/dev/null | head -n 3000;
sed -n "s/^ *[0-9]*: \([0-9A-F]*:[0-9A-F]*\) [0-9A-F]*:0000 0A [^ ]* [^ ]* [^ ]* *[0-9]* *[0-9]* \([0-9]*\) .*/tcp \2 \1/p"
  /proc/net/tcp /proc/net/tcp6 2>/dev/null | head -n 1500;
echo ctl-end
