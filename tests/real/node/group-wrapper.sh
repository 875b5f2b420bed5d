#!/bin/sh
# The wrapper of a program with several processes: runs once for each process that `status` lists.
name=$(basename "$0")
for process in $(supervisorctl -s @ADDRESS@ status | sed -n "s/^\\($name:[^ ]*\\) .*/\\1/p"); do
    supervisorctl -s @ADDRESS@ "$1" "$process"
done
