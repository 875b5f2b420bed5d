# Runs a command that follows a log ($1, a line for the shell), and ends it when the channel ends.
exec 3<&0 </dev/null
eval "exec $1" 3<&- &
job=$!
(
  read -r line <&3
  kill $job
) >/dev/null 2>&1 &
reader=$!
exec 3<&-
{ wait $job; } 2>/dev/null
code=$?
kill $reader 2>/dev/null
exit $code
