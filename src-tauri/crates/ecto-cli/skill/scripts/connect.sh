#!/bin/sh
# Opens the door in the background and prints a JSON document: connect.sh [--for TIME|unlimited] [--regenerate-token] [--restart]
exec @ECTO@ connect --detach --json "$@"
