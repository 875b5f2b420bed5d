# Holds the node's lock for one command, and is its watcher: in a session of its own, it reads lines from the controller.
# `g` starts the command; `.` is a sign of life; any other line, and the end of the connection, end the command's whole
# process group and this process. After 20 s without a line the lock is released, as guard.sh does, and the command goes
# on until its time limit.
# $1: the mark of the output. $ctl_command: the pid of the shell that becomes the command, $ctl_gate: that of the process
# that holds it back, $ctl_limit: the time limit, in seconds.
trap "" HUP PIPE INT QUIT TERM;
watchdog=;
until=;
born() {
  stat=;
  while read -r part; do stat=$stat$part; done </proc/$ctl_command/stat;
  set -- ${stat##*) };
  birth=${20};
};
now() {
  read -r t rest </proc/uptime;
  t=${t%%.*};
};
# The pid may be reused by then: the start time identifies the process. A process that has exited on its own is left
# alone, and so are the processes that it left running.
end() {
  if kill -0 $ctl_command && born && [ "$birth" = "$first" ]; then
    if [ -n "$until" ]; then
      kill -TERM -$ctl_command;
      sleep 2;
    fi;
    kill -KILL -$ctl_command;
  fi;
  kill -KILL 0;
};
# A subshell that sleeps, since dash has no read -t. flock is the parent, and its pid may be reused once it is gone.
watch() {
  [ -z "$watchdog" ] || kill $watchdog;
  (
    sleep 20 &
    sleeper=$! ;
    trap "kill $sleeper; exit 0" TERM;
    wait $sleeper;
    trap "" TERM;
    read -r self name state parent rest </proc/$$/stat;
    [ "$parent" -ne $PPID ] || kill -KILL $PPID;
    now;
    # The command may have been started since.
    [ -n "$until" ] || kill -0 $ctl_gate || until=$((t + ctl_limit));
    [ -z "$until" ] || [ $t -ge $until ] || sleep $((until - t));
    end;
  ) </dev/null >/dev/null &
  watchdog=$! ;
};
born;
first=$birth;
watch;
printf "%s\n" "$1 ready";
while IFS= read -r line; do
  case $line in
    g)
      now;
      until=$((t + ctl_limit));
      # The rest of the output is the command's.
      exec >/dev/null;
      kill -KILL $ctl_gate;
      ;;
    .) watch ;;
    *) break ;;
  esac;
done;
end;
