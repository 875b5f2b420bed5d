#!/bin/sh
# A service that init runs without supervisord (Cassandra from Contrail 3.0 on).
name=$(basename "$0")
pidfile=/run/$name.pid

pid() {
    p=$(cat "$pidfile" 2>/dev/null) || return 1
    kill -0 "$p" 2>/dev/null && echo "$p"
}

start() {
    pid >/dev/null && return 0
    setsid sleep 1000000 </dev/null >/dev/null 2>&1 &
    echo $! >"$pidfile"
}

stop() {
    p=$(pid) || return 0
    kill "$p"
    while kill -0 "$p" 2>/dev/null; do sleep 0.02; done
    rm -f "$pidfile"
}

case "$1" in
start) start ;;
stop) stop ;;
restart)
    stop
    start
    ;;
status)
    if p=$(pid); then
        echo "$name (pid  $p) is running..."
    else
        echo "$name is stopped"
        exit 3
    fi
    ;;
*)
    echo "usage: $0 start|stop|restart|status"
    exit 2
    ;;
esac
