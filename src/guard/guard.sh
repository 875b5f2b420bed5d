# The guard of one node: reads lines from the controller, and starts again what was armed if no more come.
# Sent to a POSIX shell (dash has no read -t, hence the watchdog); $1 marks what it says.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap "" HUP PIPE INT QUIT
# Of what held a secret nothing is to be in the environment of a child, whatever the login brought along.
unset line settings
mark=$1
armed=
watchdog=
say() { printf "%s\n" "$mark $*" 2>/dev/null; }

# The seconds since the node was booted: no clock that somebody sets.
now() {
  read -r t rest </proc/uptime
  t=${t%%.*}
}

# ask SECONDS SETTINGS WORDS...: runs WORDS, for so long at most. SETTINGS is the number of what they read from standard
# input, or -: it holds a password, so it goes through a pipe and stands in no argument, environment or file.
ask() {
  seconds=$1 settings=
  [ $2 = - ] || eval "settings=\$settings_$2"
  shift 2
  if [ -n "$settings" ]; then
    printf "%s\n" "$settings" | tr "\037" "\n" | setsid "$@" 2>&1 &
  else
    setsid "$@" 2>&1 </dev/null &
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

# up LIMIT SETTINGS NAME WORDS...: WORDS start NAME, until it is up or given up. supervisord answers the start of a
# program that is being stopped with an error, and leaves it stopped: so again, until LIMIT seconds are over, or until
# nobody has answered for 60 s.
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

# grp LIMIT SETTINGS GROUP WORDS...: puts a group in again that an update has taken out.
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

# init LIMIT - NAME WORDS...: a service that init runs. Its restart is one command, which goes on by itself when the
# connection ends: it is waited for before anything is started beside it. A start that takes its time is waited for as
# well, and never ended: what it has started may be of its process group.
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
      { "$@" service "$name" start; :; } >/dev/null 2>&1 </dev/null &
      starter=$!
    fi
    now
  done
}

save() {
  rescues=
  for i in $armed; do
    eval "code=\$code_$i"
    (eval "$code") </dev/null >/dev/null 2>&1 &
    rescues="$rescues $!"
  done
  [ -z "$rescues" ] || wait $rescues
}

# Anew after each line: if none comes for 20 s the connection has died without a word, and 10 s are left to start what
# was stopped. The end of the shell that reads is the end of the lock, so it is ended last.
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
      # A printf that is a program would have it as an argument.
      case $(command -v printf) in */*) ;; *) eval "settings_$i=\${line#* }" ;; esac
      ;;
    "?"*)
      line=${line#?}
      i=${line%% *}
      code=${line#* }
      # Beside what is read: it may take its time, and signs of life come meanwhile.
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
    q)
      armed=
      break
      ;;
  esac
  # The watchdog knows what was armed when it was begun, so it is begun anew before anything is promised.
  watch
  [ -z "$answer" ] || say "$answer"
done
kill $watchdog 2>/dev/null
wait $watchdog
save
exit 0
