#!/bin/sh
# Contrail's wrapper for one program: passes the verb to supervisorctl with its own file name.
exec supervisorctl -s @ADDRESS@ "$1" "$(basename "$0")"
