#!/bin/sh
# The per-program wrapper of Contrail: hands the verb to supervisorctl with its own file name.
exec supervisorctl -s @ADDRESS@ "$1" "$(basename "$0")"
