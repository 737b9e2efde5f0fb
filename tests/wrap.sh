#!/bin/sh
# Runs one test program for tests/suites.py: gives it a result file of its own (GoogleTest writes
# it; other programs ignore the variable) and notes which command that file belongs to.
# exec keeps the process: time-outs and signals reach the program itself.
record="$ACCL_TEST_RESULTS/$$"
printf '%s\n' "$*" >"$record.command"
export GTEST_OUTPUT="xml:$record.xml"
# Sanitizers lay their shadow where a randomised address space may have put something else.
if [ -n "$ACCL_TEST_FIXED_ADDRESSES" ] && setarch "$(uname -m)" -R true 2>/dev/null; then
  exec setarch "$(uname -m)" -R "$@"
fi
exec "$@"
