# Ends a command's whole process group when the controller asks for it, when the connection ends, or when the time limit of
# the node expires (a connection can die silently). $1: the command's pid. $2: that limit, in seconds.
# The pid may be reused by then: the start time identifies the process. A process that has exited on its own is left
# alone, and so are the processes that it left running.
trap "" HUP PIPE TERM;
pid=$1;
born() {
  stat=;
  while read -r part; do stat=$stat$part; done </proc/$pid/stat;
  set -- ${stat##*) };
  birth=${20};
};
born;
first=$birth;
end() {
  if kill -0 $pid && born && [ "$birth" = "$first" ]; then
    kill -TERM -$pid;
    sleep 2;
    kill -KILL -$pid;
  fi;
  kill -KILL 0;
};
(sleep $2 && end) </dev/null &
read -r line;
end
