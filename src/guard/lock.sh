# Takes the node's lock, and runs the guard ($g) while it is held. Sent to a POSIX shell; $1 marks what it says,
# the words behind it say who holds the lock. Nothing is written on the node: the lock is on a directory that is there.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap "" HUP PIPE
mark=$1
IFS= read -r g
g=$(printf %s "$g" | tr "\037" "\n")
for d in /run/lock /var/lock /; do [ ! -d $d ] || break; done
if ! command -v flock >/dev/null 2>&1; then
  echo "$mark noflock"
  exit 0
fi
# flock stays as the guard's parent, so that its pid, which /proc/locks tells, is that of a living process; -o closes
# the descriptor before the guard runs, so that nothing which the guard starts can inherit the lock.
flock -n -o $d /bin/sh -c "$g" ctl-guard "$@"
r=$?
case $r in
  0) exit 0 ;;
  1) ;;
  *) echo "$mark ended $r"; exit 0 ;;
esac
# An inode alone is not enough: the root of every tmpfs has the same, those of containers too. /proc/locks has the device
# as hexadecimal major:minor, stat as one number.
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
  # What holds it is this very controller: under another name of this machine, or what is left of a connection that it has
  # lost. Only the controller knows which; beside the latter nobody may begin, as the lock ends with it.
  *" $2 "*)
    echo "$mark own ${words##*ctl-guard }"
    IFS= read -r answer
    [ "$answer" = beside ] || exit 0
    exec /bin/sh -c "$g" ctl-guard "$@"
    ;;
esac
echo "$mark held"
echo "$mark by ${words##*ctl-guard }"
