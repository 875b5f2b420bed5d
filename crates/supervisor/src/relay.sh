# Finds a Python, and runs the relay with it. Sent to a POSIX shell; $1 marks what it says, the words behind it are what
# stands before the command.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mark=$1
shift
# Reads the relay as one line from standard input: no byte more, what follows is for the relay itself. The directory it is
# called in is no place to look for modules.
load='import os, sys
sys.path = [p for p in sys.path if p]
os.write(1, (sys.argv[1] + "\n").encode())
exec("".join(iter(lambda: os.read(0, 1).decode() or "\n", "\n")).replace("\x1f", "\n"))'
# The one that supervisor itself runs with is there for sure, wherever it is.
own=$(command -v supervisorctl) && own=$(sed -n "1s/^#! *\([^ ]*python[^ ]*\).*/\1/p" "$own" 2>/dev/null)
for python in $own python3 python2 python /usr/libexec/platform-python; do
  if command -v "$python" >/dev/null 2>&1; then
    exec "$@" "$python" -E -S -c "$load" "$mark"
  fi
done
echo "the node has no python" >&2
exit 127
