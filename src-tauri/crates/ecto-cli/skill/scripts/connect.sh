#!/bin/sh
# Opens the door in the background and prints a JSON document: connect.sh [--for TIME] [--regenerate-token] [--restart]
exec @ECTO@ connect --detach --json "$@"
