#!/bin/sh
echo "no such inventory: $1" >&2
exit 3
