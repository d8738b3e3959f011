#!/bin/sh
# Stands in for Apple's C compiler and linker. Checking never links, so an empty file in place of each object will do.
while [ $# -gt 0 ]; do
  case "$1" in
    # The cc crate asks which family of compiler this is, and whether it speaks MSVC's options.
    -E) echo '"clang"'; exit 0 ;;
    '-?') exit 1 ;;
    --version | -v) echo 'clang version 19.0.0'; exit 0 ;;
    -o) shift; : >"$1" ;;
    -o*) : >"${1#-o}" ;;
  esac
  shift
done
