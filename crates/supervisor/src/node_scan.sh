# What lies about on a node. Sent as one line behind `sh -c`, in single quotes, which every login shell hands on as they
# are: hence no single quote, no exclamation mark, and no comment behind a command.
# $1: whether packages are wanted. The other words are places: s: before a socket, c: before a configuration file.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin;
LC_ALL=C; export LC_ALL;
packages=$1; shift;
# Contrail's processes leave their core files there (contrail-controller R3.2 src/config/utils/contrail-status.py).
n=0;
for f in /var/crashes/core.*; do
  test -e "$f" || continue;
  n=$((n+1));
  test $n -gt 20 || printf "core %s\n" "$(printf %s "$f" | tr "\001-\037\177" "?")";
done;
echo "cores $n";
if test -d /var/crashes; then test -r /var/crashes && test -x /var/crashes || echo "closed /var/crashes"; fi;
for p do
  case $p in
    s:*)
      p=${p#s:};
      if test -S "$p"; then
        r=$(readlink -f "$p" 2>/dev/null);
        r=${r:-$p};
        printf "socket %s\nreal %s\n" "$p" "$r";
        stat -L -c "dir %d:%i" "${r%/*}/" 2>/dev/null;
        stat -L -c "file %d:%i" "$p" 2>/dev/null;
      fi ;;
    c:*) p=${p#c:}; test -e "$p" && printf "config %s\n" "$p" ;;
  esac;
done;
# Who is asked for on the command line of a program, or in its configuration file.
grep -s "^ *http_server_port *[=:]" /etc/contrail/*.conf /dev/null | head -n 100 | sed "s/^/port /";
grep -s -e "^ *command *[=:].* --http_server_port[ =]" /etc/contrail/supervisord_*_files/*.ini /dev/null | head -n 100 | sed "s/^/port /";
# A socket that somebody listens on has the flag 00010000 (__SO_ACCEPTCON of linux/net.h). Only those are printed that have a
# name that was asked for. The name is the one that it was bound with: the folder may have others (links, bind mounts), so that
# device and inode tell. Of the socket itself ss has them, where the node has one.
for p do
  shift;
  case $p in s:*)
    p=${p#s:};
    set -- "$@" -e "${p##*/}";
    test -S "$p" && r=$(readlink -f "$p" 2>/dev/null) && set -- "$@" -e "${r##*/}" ;;
  esac;
done;
if test -r /proc/net/unix; then
  echo listening;
  test $# -eq 0 || sed -n "s/^[^ ]* [^ ]* [^ ]* 00010000 [^ ]* [^ ]* *[^ ]* \(\/.*\)/\1/p" /proc/net/unix | grep -F "$@" | head -n 200 |
  while IFS= read -r b; do
    printf "listens %s\n" "$b";
    stat -L -c "dir %d:%i" "${b%/*}/" 2>/dev/null;
  done;
  ss -xlne 2>/dev/null | sed -n "s/.* ino:\([0-9]*\) dev:\([0-9]*\)\/\([0-9]*\).*/bound \2 \3 \1/p" | head -n 500;
fi;
if test "$packages" = packages; then
  limit=; command -v timeout >/dev/null 2>&1 && limit="timeout 4";
  if command -v dpkg-query >/dev/null 2>&1; then
    $limit dpkg-query -W -f "package \${Package} \${Version} \${Status}\n" "contrail*" 2>/dev/null;
  elif command -v rpm >/dev/null 2>&1; then
    $limit rpm -qa --qf "package %{NAME} %{VERSION}-%{RELEASE} installed\n" "contrail*" 2>/dev/null;
  fi | head -n 60;
fi;
echo ctl-end
