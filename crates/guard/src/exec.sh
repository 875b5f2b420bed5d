# Runs a user's command. This shell becomes the command, so that sshd itself reports its exit code or signal. A watcher,
# in a session of its own, ends the command's whole process group when the controller asks for it, when the connection
# ends, or when the time limit of the node expires (a connection can die silently).
# $1: that limit, in seconds. $2: the mark before the output. $3: length of the command's input, in base64.
IFS= read -r command
command=$(printf %b "$command")
# Read all of the input before the command starts, so that it never sees only a part of it.
if [ "$3" -gt 0 ]; then
  for program in base64 head; do
    command -v $program >/dev/null || { echo "cannot send standard input: no $program on this node" >&2; exit 127; }
  done
  [ -d /proc/$$/fd ] || { echo "cannot send standard input: no /proc on this node" >&2; exit 127; }
  input=$(head -c "$3")
  [ ${#input} -eq "$3" ] || exit 1
fi
exec 3<&0 </dev/null
# The pid may be reused by then: the start time identifies the process. A process that has exited on its own is left
# alone, and so are the processes that it left running.
watch='
  trap "" HUP PIPE TERM
  pid=$1
  born() { stat=$(cat /proc/$pid/stat 2>/dev/null); stat=${stat##*) }; set -- $stat; echo "${20}"; }
  birth=$(born)
  end() {
    if kill -0 $pid && [ "$(born)" = "$birth" ]; then
      kill -TERM -$pid
      sleep 2
      kill -KILL -$pid
    fi
    kill -KILL 0
  }
  (sleep $2 && end) </dev/null &
  read -r line
  end
'
( setsid /bin/sh -c "$watch" ctl-watch $$ "$1" <&3 3<&- >/dev/null 2>&1 & )
exec 3<&-
# A pipe in this shell needs a child at one end; take over the other end from a process that holds it open.
if [ "$3" -gt 0 ]; then
  holder=$( (printf %s "$input" | base64 -d) 2>/dev/null | sleep 60 >/dev/null 2>&1 & echo $!)
  until [ -p /proc/$holder/fd/0 ]; do
    kill -0 $holder 2>/dev/null || { echo "cannot send standard input: no pipe can be kept" >&2; exit 127; }
  done
  exec </proc/$holder/fd/0
  kill $holder
fi
# bash reads ~/.bashrc if sshd has started it and it is not inside another shell (SHLVL below 2; exec in bash decrements
# it). The login shell around this one has read it already.
SHLVL=2
export SHLVL
echo "$2-2" >&2
echo "$2"
# A process group leader cannot start a session, and need not: sshd starts a command as one, sudo does not.
if kill -0 -$$ 2>/dev/null; then
  exec "${SHELL:-/bin/sh}" -c "$command"
fi
exec setsid "${SHELL:-/bin/sh}" -c "$command"
