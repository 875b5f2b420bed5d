# Runs a command of the operator's. This shell becomes the command, so that sshd itself reports how it ended, a signal
# included. Beside it a watcher, in a session of its own, ends the command's whole process group when the controller says
# so, when the connection ends, or when its time is over on the node as well (a connection can die without a word).
# $1: that time, in seconds. $2: the mark behind which the output begins. $3: length of the command's input, in base64.
IFS= read -r command
command=$(printf %b "$command")
# All of the input is here before the command is started: it never sees a part of it.
if [ "$3" -gt 0 ]; then
  for program in base64 head; do
    command -v $program >/dev/null || { echo "cannot send standard input: no $program on this node" >&2; exit 127; }
  done
  [ -d /proc/$$/fd ] || { echo "cannot send standard input: no /proc on this node" >&2; exit 127; }
  input=$(head -c "$3")
  [ ${#input} -eq "$3" ] || exit 1
fi
exec 3<&0 </dev/null
# A pid may be another process by then: what it was is known by when it was born. A process that has ended by itself is
# let be, and what it has left running as well.
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
# Only a process of this shell can be one end of a pipe; the other is taken over from a process that holds it.
if [ "$3" -gt 0 ]; then
  holder=$( (printf %s "$input" | base64 -d) 2>/dev/null | sleep 60 >/dev/null 2>&1 & echo $!)
  until [ -p /proc/$holder/fd/0 ]; do
    kill -0 $holder 2>/dev/null || { echo "cannot send standard input: no pipe can be kept" >&2; exit 127; }
  done
  exec </proc/$holder/fd/0
  kill $holder
fi
# bash reads ~/.bashrc where sshd has started it and it is not inside another shell (SHLVL below 2; exec from bash takes
# one off). The login shell around this one has read it already.
SHLVL=2
export SHLVL
echo "$2-2" >&2
echo "$2"
# The leader of a process group (as whom sshd starts a command, and sudo does not) cannot begin another, nor has to.
if kill -0 -$$ 2>/dev/null; then
  exec "${SHELL:-/bin/sh}" -c "$command"
fi
exec setsid "${SHELL:-/bin/sh}" -c "$command"
