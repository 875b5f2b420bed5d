#!/bin/sh
# The SysV script of one of Contrail's supervisords. Its `status` prints the same as the functions file of RHEL. Unlike
# Contrail's own script, it waits until the old supervisord is gone before it starts a new one: otherwise a restart
# sometimes finds the socket in use, and a test must not.
name=@NAME@
conf=@CONF@
pidfile=@PIDFILE@
address=@ADDRESS@

pid() {
    p=$(cat "$pidfile" 2>/dev/null) || return 1
    [ -n "$p" ] && kill -0 "$p" 2>/dev/null && echo "$p"
}

start() {
    pid >/dev/null && return 0
    echo "Starting $name"
    supervisord -c "$conf" </dev/null || return 1
    # supervisord's parent exits before the pid file exists.
    n=0
    until pid >/dev/null; do
        n=$((n + 1))
        [ "$n" -gt 200 ] && return 1
        sleep 0.05
    done
}

stop() {
    p=$(pid) || return 0
    echo "Stopping $name"
    @WHEN_STOPPING@
    supervisorctl -s "$address" stop all
    supervisorctl -s "$address" shutdown
    n=0
    while kill -0 "$p" 2>/dev/null; do
        n=$((n + 1))
        [ "$n" -gt 200 ] && kill -9 "$p"
        sleep 0.05
    done
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
        echo "supervisord (pid  $p) is running..."
    elif [ -e "$pidfile" ]; then
        echo "supervisord dead but pid file exists"
        exit 1
    else
        echo "supervisord is stopped"
        exit 3
    fi
    ;;
esac
