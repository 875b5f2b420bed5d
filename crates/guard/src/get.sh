# Prints a file: a line with its permissions and its size, then its content.
# $1: the mark before the output. $2: size of the content that the reader has already, or `-`. Its SHA-256 comes as a line,
# since every user of the node sees arguments.
IFS= read -r source
IFS= read -r known
source=$(printf '%bx' "$source")
source=${source%x}
echo "$1-2" >&2
echo "$1"
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}
[ ! -d "$source" ] || fail "$source: Is a directory"
[ -e "$source" ] || fail "$source: No such file"
[ -f "$source" ] || fail "$source: Not a regular file"
[ -r "$source" ] || fail "$source: Permission denied"
# Files of /proc report that they are empty, but wc reads those.
size=$(($(wc -c <"$source")))
permissions=$(stat -L -c %a "$source" 2>/dev/null) || permissions=600
if [ "$size" = "$2" ]; then
  sum=$(sha256sum <"$source" 2>/dev/null)
  if [ "${sum%% *}" = "$known" ]; then
    echo "same $permissions $size"
    exit
  fi
fi
echo "file $permissions $size"
# No more than announced, since a log may grow meanwhile.
exec head -c "$size" <"$source"
