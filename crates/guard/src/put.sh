# Writes a file whose content comes over standard input: whole or not at all, beside its target and then renamed.
# $1: time limit, in seconds. $2: the mark before the output. $3: size. $4: permissions, in octal. $5: `into` if the
# target must be a directory. $6: random part of the temporary name.
# The SHA-256 is no argument: every user of the node sees those, and could guess a short secret by it.
IFS= read -r target
IFS= read -r name
IFS= read -r hash
target=$(printf '%bx' "$target")
target=${target%x}
name=$(printf '%bx' "$name")
name=${name%x}
size=$3
permissions=$4
echo "$2-2" >&2
echo "$2"
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}
hash_of() {
  sum=$(sha256sum <"$1" 2>/dev/null)
  sum=${sum%% *}
}
if [ -d "$target" ]; then
  target=${target%/}/$name
elif [ "$5" = into ]; then
  # With its slash, a file does not exist.
  [ -e "${target%"${target##*[!/]}"}" ] || fail "$target: No such directory"
  fail "$target: Not a directory"
fi
# As cp does, write the file that a link points to.
if [ -L "$target" ]; then
  link=$(readlink -f "$target" && echo x) || fail "$target: the symbolic link cannot be followed"
  target=${link%?x}
fi
[ ! -d "$target" ] || fail "$target: Is a directory"
[ ! -e "$target" ] || [ -f "$target" ] || fail "$target: Not a regular file"
folder=${target%/*}
[ -d "${folder:-/}" ] || fail "${folder:-/}: No such directory"
if [ -f "$target" ] && [ -r "$target" ] && [ $(($(wc -c <"$target"))) -eq "$size" ]; then
  hash_of "$target"
  if [ "$sum" = "$hash" ]; then
    if [ "$(stat -c %a "$target" 2>/dev/null)" = "$permissions" ]; then
      echo same
      exit
    fi
    chmod "$permissions" "$target" || exit 1
    echo changed
    exit
  fi
fi
umask 077
temporary=$folder/.ctl-cp-$6
# Never over a file or through a link that is there already.
said=$( (set -C && : >"$temporary") 2>&1) || fail "cannot write to ${folder:-/}: ${said##*: }"
trap 'rm -f "$temporary"' EXIT
trap 'exit 1' HUP INT PIPE TERM
# A connection can die silently, and the node may notice much later.
limited=
if timeout 9 true 2>/dev/null; then limited="timeout $1"; fi
echo send
said=$($limited head -c "$size" 2>&1 >"$temporary") || fail "cannot write $target: ${said##*: }"
[ $(($(wc -c <"$temporary"))) -eq "$size" ] || fail "$target: the content did not arrive completely"
hash_of "$temporary"
[ -z "$sum" ] || [ "$sum" = "$hash" ] || fail "$target: the file changed while it was copied"
# The old owner stays, where this user may set it: a service must still be able to read its file.
if [ -e "$target" ]; then
  owner=$(stat -c %u:%g "$target" 2>/dev/null) && chown "$owner" "$temporary" 2>/dev/null
fi
chmod "$permissions" "$temporary" || exit 1
mv -f "$temporary" "$target" || exit 1
trap - EXIT
echo changed
