# Starts the watcher of a command without a lock, in a session of its own, and not as a child of the command.
# $1: time limit of the node, in seconds. $4: the watcher's script.
exec 3<&0 </dev/null;
( setsid /bin/sh -c "$4" ctl-watch $$ "$1" <&3 3<&- >/dev/null 2>&1 & );
exec 3<&-;
