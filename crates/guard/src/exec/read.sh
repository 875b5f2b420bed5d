# Reads a user's command, and all of its input before it starts, so that it never sees only a part of it. Only for a
# command that has input, or goes through sudo: any other is in $5, which saves the node the reading, and a round trip.
# $3: length of the input, in base64.
IFS= read -r command || exit 1;
case $command in *\\*) command=$(printf %b "$command") ;; esac;
if [ "$3" -gt 0 ]; then
  for program in base64 head; do
    command -v $program >/dev/null || { echo "cannot send standard input: no $program on this node" >&2; exit 127; };
  done;
  [ -d /proc/$$/fd ] || { echo "cannot send standard input: no /proc on this node" >&2; exit 127; };
  input=$(head -c "$3");
  [ ${#input} -eq "$3" ] || exit 1;
fi;
