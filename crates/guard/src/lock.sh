# Takes the node's lock, and runs the guard ($g) while it is held. Sent to a POSIX shell; $1 marks its output, the other
# arguments describe the holder of the lock. It writes nothing on the node: it locks an existing directory.
# A node that only helps with other nodes (use=helper) may help several runs at once, but no run may change it meanwhile:
# these runs share the lock.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap "" HUP PIPE
mark=$1
key=$2
share=-x
case " $* " in *" use=helper "*) share=-s ;; esac
l
g=$s
for d in /run/lock /var/lock /; do [ ! -d $d ] || break; done
if ! command -v flock >/dev/null 2>&1; then
  echo "$mark noflock"
  exit 0
fi
# Who has the lock, in $words: this same controller, if it is one of several.
# An inode alone is not enough: the root of every tmpfs has the same one, even in containers. /proc/locks has the device
# as hexadecimal major:minor, stat as a single number.
find() {
  n=$(stat -c "%d %i" $d)
  dev=${n% *}
  n=${n#* }
  dev=$(printf "%02x:%02x" $(((dev >> 8) & 4095)) $(((dev & 255) | ((dev >> 12) & 1048320))))
  words=
  while read -r number kind mode access pid file rest; do
    case "$kind $file" in
      "FLOCK $dev:$n")
        case " $words " in
          *" $key "*) ;;
          *) words=$(tr "\000" " " </proc/$pid/cmdline 2>/dev/null) ;;
        esac
        ;;
    esac
  done </proc/locks
}
# The holder is this same controller: under another name of this host, or from a connection that it has lost. Only the
# controller can distinguish them; nothing may start beside the latter, since the lock ends with it.
own() {
  case " $words " in
    *" $key "*)
      echo "$mark own ${words##*ctl-guard }"
      IFS= read -r answer
      [ "$answer" = beside ] || exit 0
      exec /bin/sh -c "$g" ctl-guard "$@"
      ;;
  esac
}
# A lock that can be shared is free beside a guard of a lost connection, which has yet to take back what it is armed for.
if [ $share = -s ]; then
  find
  own "$@"
fi
# flock stays as the guard's parent, so that its pid in /proc/locks is that of a running process; -o closes the
# descriptor before the guard runs, so that no child of the guard can inherit the lock.
flock -n $share -o $d /bin/sh -c "$g" ctl-guard "$@"
r=$?
case $r in
  0) exit 0 ;;
  1) ;;
  *) echo "$mark ended $r"; exit 0 ;;
esac
find
own "$@"
echo "$mark held"
echo "$mark by ${words##*ctl-guard }"
