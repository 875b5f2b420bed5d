# The undo of a scope: this shell becomes the command.
exec "${SHELL:-/bin/sh}" -c "$command"
