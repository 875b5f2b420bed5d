# The guard of one node: reads lines from the controller, and starts the armed targets again if the lines stop.
# Sent to a POSIX shell (dash has no read -t, hence the watchdog); $1 marks its output.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap "" HUP PIPE INT QUIT
# Variables for secrets must not be in the environment of a child, even if the login exported their names.
unset line settings
mark=$1
armed=
watchdog=
door=
helper=
case " $* " in *" use=helper "*) helper=1 ;; esac
say() { printf "%s\n" "$mark $*" 2>/dev/null; }

# Seconds since boot: this clock cannot be set.
now() {
  read -r t rest </proc/uptime
  t=${t%%.*}
}

# ask SECONDS SETTINGS COMMAND...: runs COMMAND with a time limit. SETTINGS is the number of its standard input, or -:
# it holds a password, so it is passed through a pipe, and never as an argument, in the environment or in a file.
ask() {
  seconds=$1 settings=
  [ $2 = - ] || eval "settings=\$settings_$2"
  shift 2
  if [ -n "$settings" ]; then
    printf "%s\n" "$settings" | tr "\037" "\n" | setsid "$@" 2>&1 9<&- &
  else
    setsid "$@" 2>&1 </dev/null 9<&- &
  fi
  job=$!
  (
    sleep $seconds &
    sleeper=$!
    trap "kill $sleeper; exit 0" TERM
    wait $sleeper
    kill -9 -$job
  ) </dev/null >/dev/null 2>&1 &
  clock=$!
  { wait $job; } 2>/dev/null
  code=$?
  kill $clock 2>/dev/null
  return $code
}

# up LIMIT SETTINGS NAME COMMAND...: COMMAND starts NAME, until it is up or has failed. supervisord rejects the start of
# a program that is stopping, and leaves it stopped: so retry for LIMIT seconds, or until supervisord has not answered
# for 60 s.
up() {
  limit=$1 key=$2 name=$3
  shift 3
  now
  end=$((t + limit)) patience=$((t + 60))
  while [ $t -lt $end ] && [ $t -lt $patience ]; do
    said=$(ask $((end - t)) $key "$@" start "$name")
    case $said in *": started"*|*"(no such file)"*|*"(file is not executable)"*|*"(no such process)"*) return ;; esac
    sleep 1
    said=$(ask 15 $key "$@" status "$name")
    now
    case $said in
      *" RUNNING "*|*" FATAL "*) return ;;
      *" STOP"*|*" STARTING "*|*" BACKOFF "*|*" EXITED "*|*" UNKNOWN "*) patience=$((t + 60)) ;;
    esac
  done
}

# grp LIMIT SETTINGS GROUP COMMAND...: adds a group again that an update has removed.
grp() {
  limit=$1 key=$2 group=$3
  shift 3
  now
  end=$((t + limit))
  while [ $t -lt $end ]; do
    ask 15 $key "$@" add "$group" >/dev/null
    now
    ask $((end - t)) $key "$@" start "$group:*" >/dev/null
    sleep 1
    said=$(ask 15 $key "$@" status "$group:*")
    now
    case $said in *STOPPING*) ;; *" RUNNING "*|*" FATAL "*) return ;; esac
  done
}

# init LIMIT - NAME COMMAND...: starts an init service. Its restart is one command, which continues on its own when the
# connection ends: wait for it before starting anything beside it. Wait for a slow start too, and never kill it: the
# service may be in its process group.
init() {
  limit=$1 name=$3 starter=
  shift 3
  sleep 3
  now
  end=$((t + limit))
  while [ $t -lt $end ]; do
    said=$(ask 15 - "$@" service "$name" status)
    case $said in *"not running"*) ;; *running*|*" RUNNING "*) return ;; esac
    sleep 1
    if [ -z "$starter" ] || ! kill -0 $starter 2>/dev/null; then
      { "$@" service "$name" start; :; } >/dev/null 2>&1 </dev/null 9<&- &
      starter=$!
    fi
    now
  done
}

# undo LIMIT COMMAND...: takes back what a run did, with a command that may be repeated: until it exits 0, for LIMIT
# seconds.
undo() {
  limit=$1
  shift
  now
  end=$((t + limit))
  while [ $t -lt $end ]; do
    ask $((end - t)) - "$@" >/dev/null && return
    sleep 1
    now
  done
}

# Opens what those lock who go into this node, one at a time: a directory again, but another one than for the node's lock,
# which several runs may share. No descriptor of it may outlive the guard in a service that was started.
open_door() {
  [ -z "$door" ] || return
  for door in /run /var /etc; do [ ! -r $door ] || break; done
  exec 9<$door
}

# First the services are started again, all at once. Only then is the rest taken back, the last first: what was drained
# must not get work before its services are up.
save() {
  rescues= undos=
  for i in $armed; do
    eval "code=\$code_$i"
    case $code in
      "undo "*) undos="$i $undos" ;;
      *)
        (eval "$code") </dev/null >/dev/null 2>&1 &
        rescues="$rescues $!"
        ;;
    esac
  done
  [ -z "$rescues" ] || wait $rescues
  # What a helper takes back concerns another node, whose guard needs a moment to start the services there. And another run
  # may be inside; but all is taken back within a minute, whatever it does.
  if [ -n "$helper" ] && [ -n "$undos" ]; then
    sleep 10
    open_door
    flock -w 20 9
  elif [ -n "$helper" ] && [ -n "$door" ]; then
    # The command whose turn it was may need two seconds to end.
    sleep 3
  fi
  for i in $undos; do
    eval "code=\$code_$i"
    (eval "$code") </dev/null >/dev/null 2>&1
  done
}

# Restarted after each line: after 20 s without one the connection is dead, and 10 s remain to start the stopped
# services. The lock ends with the shell that reads, so kill that shell last.
watch() {
  [ -z "$watchdog" ] || kill $watchdog 2>/dev/null
  (
    sleep 20 &
    sleeper=$!
    trap "kill $sleeper; exit 0" TERM
    wait $sleeper
    trap "" TERM
    kill -0 $$ 2>/dev/null || exit 0
    save
    kill -9 $$
  ) </dev/null >/dev/null 2>&1 &
  watchdog=$!
}

watch
say ready
while IFS= read -r line; do
  answer=
  case $line in
    =*)
      line=${line#=}
      i=${line%% *}
      unset settings_$i
      # An external printf would get the password as an argument.
      case $(command -v printf) in */*) ;; *) eval "settings_$i=\${line#* }" ;; esac
      ;;
    "?"*)
      line=${line#?}
      i=${line%% *}
      code=${line#* }
      # In the background: it may take long, and heartbeats arrive meanwhile.
      (
        { eval "$code"; echo "exit $?"; } 2>&1 | head -c 16384 | cut -b 1-800 | while IFS= read -r line; do
          say ">$i $line"
        done
        say "?$i"
      ) </dev/null &
      ;;
    +*)
      line=${line#+}
      i=${line%% *}
      eval "code_$i=\${line#* }"
      armed="$armed $i"
      answer=+$i
      ;;
    -*)
      i=${line#-}
      rest=
      for j in $armed; do [ "$j" = "$i" ] || rest="$rest $j"; done
      armed=$rest
      answer=-$i
      ;;
    .)
      answer=.
      ;;
    t*)
      line=${line#t}
      i=${line%% *}
      open_door
      # In the background: heartbeats arrive meanwhile. The lock is that of the open file, which is also this shell's.
      (if flock -w ${line#* } 9; then say "t$i"; else say "b$i"; fi) </dev/null &
      ;;
    f)
      [ -z "$door" ] || flock -u 9
      ;;
    q)
      armed= helper=
      break
      ;;
  esac
  # The watchdog sees only targets armed before its start, so restart it before confirming.
  watch
  [ -z "$answer" ] || say "$answer"
done
kill $watchdog 2>/dev/null
wait $watchdog
save
[ -z "$door" ] || flock -u 9
exit 0
