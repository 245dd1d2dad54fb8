# shellcheck shell=bash
# What the tests of packages share: steps with names, and what ends one.
# Sourced, never run. Expects `set -eu` of the script that sources it, which ends with the name of the step that failed.

step="the beginning"
trap 'echo "failed: $step" >&2; explain >&2 || true' ERR
set -E

begin() {
  step=$1
  echo "-- $step"
}

fail() {
  echo "$*" >&2
  return 1
}

expect() { [ "$1" = "$2" ] || fail "expected '$2', found '$1'"; }

# What else may tell why; for scripts to replace.
explain() { :; }
