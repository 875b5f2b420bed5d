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
    s:*) p=${p#s:}; test -S "$p" && printf "socket %s\n" "$p" ;;
    c:*) p=${p#c:}; test -e "$p" && printf "config %s\n" "$p" ;;
  esac;
done;
# Who is asked for on the command line of a program, or in its configuration file.
grep -s "^ *http_server_port *[=:]" /etc/contrail/*.conf /dev/null | head -n 100 | sed "s/^/port /";
grep -s -e "^ *command *[=:].* --http_server_port[ =]" /etc/contrail/supervisord_*_files/*.ini /dev/null | head -n 100 | sed "s/^/port /";
# A socket that somebody listens on has the flag 00010000 (SO_ACCEPTCON of linux/net.h). Only those are told that have a
# name that was asked for.
for p do
  shift;
  case $p in s:*) set -- "$@" -e "${p##*/}" ;; esac;
done;
if test -r /proc/net/unix; then
  echo listening;
  test $# -eq 0 || sed -n "s/^[^ ]* [^ ]* [^ ]* 00010000 [^ ]* [^ ]* *[^ ]* \(\/.*\)/listens \1/p" /proc/net/unix | grep -F "$@";
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
