# The guard of one node: reads lines from the controller, and starts again what was armed if no more come.
# Sent to a POSIX shell (dash has no read -t, hence the watchdog); $1 marks what it says.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap "" HUP PIPE INT QUIT
mark=$1
armed=
watchdog=
say() { echo "$mark $*" 2>/dev/null; }

# up LIMIT NAME WORDS...: WORDS start NAME, until it is up or given up. supervisord answers the start of a program that
# is being stopped with an error, and leaves it stopped: so again, until LIMIT seconds are over.
up() {
  limit=$1 name=$2 n=0
  shift 2
  while [ $n -lt $limit ]; do
    said=$("$@" start "$name" 2>&1 </dev/null)
    case $said in *": started"*|*"(no such file)"*|*"(file is not executable)"*|*"(no such process)"*) return ;; esac
    sleep 1
    said=$("$@" status "$name" 2>&1 </dev/null)
    case $said in *" RUNNING "*|*" FATAL "*) return ;; esac
    n=$((n + 2))
  done
}

# grp LIMIT GROUP WORDS...: puts a group in again that an update has taken out.
grp() {
  limit=$1 group=$2 n=0
  shift 2
  while [ $n -lt $limit ]; do
    "$@" add "$group" >/dev/null 2>&1 </dev/null
    said=$("$@" start "$group:*" 2>&1 </dev/null)
    sleep 1
    said=$("$@" status "$group:*" 2>&1 </dev/null)
    case $said in *STOPPING*) ;; *" RUNNING "*|*" FATAL "*) return ;; esac
    n=$((n + 2))
  done
}

# init LIMIT NAME WORDS...: a service that init runs. Its restart is one command, which goes on by itself when the
# connection ends: it is waited for before anything is started beside it.
init() {
  limit=$1 name=$2 n=0
  shift 2
  sleep 5
  while [ $n -lt $limit ]; do
    [ $n -eq 0 ] || "$@" service "$name" start >/dev/null 2>&1 </dev/null
    said=$("$@" service "$name" status 2>&1 </dev/null)
    case $said in *"not running"*) ;; *running*|*" RUNNING "*) return ;; esac
    sleep 1
    n=$((n + 1))
  done
}

save() {
  for i in $armed; do
    eval "code=\$code_$i"
    (eval "$code") </dev/null >/dev/null 2>&1 &
  done
  wait
}

# Anew after each line: if none comes for 30 s the connection has died without a word. The end of the shell that reads
# is the end of the lock, so it is ended last.
watch() {
  [ -z "$watchdog" ] || kill $watchdog 2>/dev/null
  (
    sleep 30 &
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
  case $line in
    +*)
      line=${line#+}
      i=${line%% *}
      code=${line#* }
      program=${code##* --needs }
      if [ "$program" != "$code" ] && ! command -v "$program" >/dev/null 2>&1; then
        say "!$i $program"
        continue
      fi
      code=${code% --needs *}
      eval "code_$i=\$code"
      armed="$armed $i"
      watch
      say "+$i"
      ;;
    -*)
      i=${line#-}
      rest=
      for j in $armed; do [ "$j" = "$i" ] || rest="$rest $j"; done
      armed=$rest
      watch
      say "-$i"
      ;;
    .)
      watch
      say .
      ;;
    q)
      armed=
      break
      ;;
  esac
done
kill $watchdog 2>/dev/null
wait $watchdog
save
exit 0
