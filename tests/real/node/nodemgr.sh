#!/bin/bash
# Stands in for the config node manager of Contrail 1.10 to 3.1: an event listener of supervisord that restarts the
# whole instance when a process of contrail-api stops, exits or becomes fatal. Standard output belongs to the event
# protocol.
while printf 'READY\n' && read -r header; do
    length=${header##*len:}
    read -r -N "${length%% *}" payload
    case "$payload" in
    *groupname:contrail-api\ *)
        # The restart stops this listener, and stops contrail-api again: therefore it has its own session, and only one
        # runs at a time.
        setsid flock --nonblock /run/nodemgr.lock service supervisor-config restart \
            </dev/null >>/var/log/contrail/nodemgr.log 2>&1 &
        ;;
    esac
    printf 'RESULT 2\nOK'
done
