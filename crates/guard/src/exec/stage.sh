# Takes the node's lock for one command, and holds the command back until the controller starts it: one shell and one
# channel for both. $1: time limit, in seconds. $4: the holder's script. $6: the mark of the holder; the arguments after
# it describe it.
# flock is the parent of the holder, as in lock.sh. Their parent, the gate, ends in two ways: the holder kills it to start
# the command, or it exits because there is no lock. So neither of them is a child of the command.
# In the gate, $$ is the command, and /proc/self is the gate, unless this /proc is of other processes.
exec 3<&0 </dev/null;
{
  (
    PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin;
    trap "" HUP PIPE;
    hold=$4;
    ctl_command=$$;
    ctl_limit=$1;
    read -r ctl_gate name state parent rest </proc/self/stat && test "$parent" = $$ || exit 0;
    export ctl_command ctl_limit ctl_gate;
    shift 5;
    for d in /run/lock /var/lock /; do test -d $d && break; done;
    setsid flock -n -o $d /bin/sh -c "$hold" ctl-guard "$@" <&3 3<&-;
    exit 0;
  );
} 2>/dev/null;
# 128 and SIGKILL: started. Anything else: lock.sh finds out who has the lock, or what the node lacks.
if [ $? -ne 137 ]; then
  echo "$6 unlocked";
  exit 0;
fi;
exec 3<&-;
