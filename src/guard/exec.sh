# Runs a command of the operator's, and ends it, its whole process group, when the controller says so, when the
# connection ends, or when its time is over on the node as well (a connection can die without a word). $1: that time.
IFS= read -r command
command=$(printf %s "$command" | tr "\037" "\n")
trap "" HUP PIPE
exec 3<&0 </dev/null
setsid "${SHELL:-/bin/sh}" -c "$command" </dev/null 3<&- &
job=$!
end() {
  trap "" TERM
  kill -TERM -$job
  sleep 2
  kill -KILL -$job
}
(
  read -r line <&3
  end
) >/dev/null 2>&1 &
reader=$!
(
  exec 3<&-
  sleep $1 &
  sleeper=$!
  trap "kill $sleeper; exit 0" TERM
  wait $sleeper
  end
) >/dev/null 2>&1 &
clock=$!
exec 3<&-
{ wait $job; } 2>/dev/null
code=$?
kill $reader $clock 2>/dev/null
exit $code
