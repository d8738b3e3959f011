#!/bin/sh
# Closes the door and prints a JSON document once it is closed.
exec @ECTO@ disconnect --json "$@"
