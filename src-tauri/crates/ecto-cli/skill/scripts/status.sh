#!/bin/sh
# Prints a JSON document that tells what is.
exec @ECTO@ status --json "$@"
