# Takes the node's lock, and runs the guard ($g) while it is held. Sent to a POSIX shell; $1 marks its output, the other
# arguments describe the holder of the lock. It writes nothing on the node: it locks an existing directory.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap "" HUP PIPE
mark=$1
l
g=$s
for d in /run/lock /var/lock /; do [ ! -d $d ] || break; done
if ! command -v flock >/dev/null 2>&1; then
  echo "$mark noflock"
  exit 0
fi
# flock stays as the guard's parent, so that its pid in /proc/locks is that of a running process; -o closes the
# descriptor before the guard runs, so that no child of the guard can inherit the lock.
flock -n -o $d /bin/sh -c "$g" ctl-guard "$@"
r=$?
case $r in
  0) exit 0 ;;
  1) ;;
  *) echo "$mark ended $r"; exit 0 ;;
esac
# An inode alone is not enough: the root of every tmpfs has the same one, even in containers. /proc/locks has the device
# as hexadecimal major:minor, stat as a single number.
n=$(stat -c "%d %i" $d)
dev=${n% *}
n=${n#* }
dev=$(printf "%02x:%02x" $(((dev >> 8) & 4095)) $(((dev & 255) | ((dev >> 12) & 1048320))))
holder=
while read -r number kind mode access pid file rest; do
  case "$kind $file" in "FLOCK $dev:$n") holder=$pid ;; esac
done </proc/locks
words=
[ -z "$holder" ] || words=$(tr "\000" " " </proc/$holder/cmdline 2>/dev/null)
case " $words " in
  # The holder is this same controller: under another name of this host, or from a connection that it has lost. Only the
  # controller can distinguish them; nothing may start beside the latter, since the lock ends with it.
  *" $2 "*)
    echo "$mark own ${words##*ctl-guard }"
    IFS= read -r answer
    [ "$answer" = beside ] || exit 0
    exec /bin/sh -c "$g" ctl-guard "$@"
    ;;
esac
echo "$mark held"
echo "$mark by ${words##*ctl-guard }"
