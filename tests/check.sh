#!/bin/bash
# check.sh [--fast] (make check, make check-fast): every test there is, the cheap ones first; stops at the first that fails.
#
#   --fast   formatting, lints and all tests of `cargo test`: no root, under five minutes
#
# The whole of it adds the tests once more as an ordinary user where root started this, the size of the wrapper, the demo, a small
# part of the conformance run (make conformance has more), and, as root, the system test on booted machines with each fault once
# (make faults has more of them). Packages have tests of their own (make package-test), and looking for bytes that break a reader takes
# a build of its own (make fuzz). Ends with `check: N passed, N failed`, and what was left out.
set -eu
. "$(dirname "$0")/lib.sh"

mode=${1:---all}
passed=0
left_out=0
started=$SECONDS
# Builds, which takes the owner of the build directory.
BUILDS=the_release_binary_is_small_and_has_no_runtime
# What the stripped wrapper may weigh: it starts once for each unit.
WRAPPER_BYTES_MAX=1000000

main() {
  cd "$top"
  need_to_build
  need jq jq
  # What the tests of `cargo test` take for input, or make it with.
  need clang clang g++ g++ patchelf patchelf icecc-create-env icecc file file xz xz-utils zstd zstd musl-gcc musl-tools \
    aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
  step "formatting" cargo fmt --check
  scripts
  step "lints" cargo clippy --locked --all-targets --features system-tests -- -D warnings
  step "tests" cargo test --locked
  if [ "$mode" = --all ]; then
    as_ordinary_user
    step "release build" cargo build --release --locked
    step "size of the wrapper" wrapper_is_small
    step "demo" tests/demo.sh
    step "conformance of one package" tests/conformance/run.sh lua5.4/gcc
    step "recipes" tests/recipes/run.sh
    if is_root; then
      step "system test" tests/system/run.sh
    else
      leave_out "system test on booted machines: needs root"
    fi
  fi
  summary 0
}

step() {
  local name=$1 since=$SECONDS
  shift
  say "$name"
  "$@" </dev/null || { say "$name: FAILED"; summary 1; }
  passed=$((passed + 1))
  say "$name: passed in $((SECONDS - since)) s"
}

leave_out() {
  left_out=$((left_out + 1))
  say "left out: $1"
}

summary() {
  say "took $((SECONDS - started)) s; $left_out left out"
  echo "check: $passed passed, $1 failed"
  exit "$1"
}

scripts() {
  if ! command -v shellcheck >/dev/null; then
    leave_out "shellcheck of the scripts: not installed"
    return
  fi
  step "scripts" shellcheck --severity=warning -x -P tests -P tests/system -P tests/conformance -P tests/packages -P tests/recipes tests/*.sh tests/*/*.sh tests/system/host \
    tests/conformance/front contrib/*.sh .ci/run
}

# Root may read, write and signal everything, so what a test says about permissions means nothing under root.
as_ordinary_user() {
  if ! is_root; then return; fi
  need setpriv util-linux
  if ! setpriv --reuid 65534 --regid 65534 --clear-groups test -r "$top/Cargo.toml" -a -x "$CARGO_TARGET_DIR"; then
    leave_out "tests as an ordinary user: nobody else can reach $top"
    return
  fi
  step "tests as an ordinary user" unprivileged_tests
}

unprivileged_tests() {
  local binaries binary scratch status=0
  binaries=$(cargo test --locked --no-run --message-format=json 2>/dev/null | jq -r 'select(.profile.test).executable // empty')
  scratch=$(mktemp -d)
  chmod 1777 "$scratch"
  for binary in $binaries; do
    # Cargo runs tests in the package's directory, too.
    setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH="$PATH" HOME="$scratch" TMPDIR="$scratch" USER=nobody "$binary" \
      --skip "$BUILDS" || status=1
  done
  rm -rf "$scratch"
  return "$status"
}

wrapper_is_small() {
  local bytes
  bytes=$(stat -c %s "$CARGO_TARGET_DIR/release/farcc")
  echo "the wrapper has $bytes bytes of at most $WRAPPER_BYTES_MAX"
  [ "$bytes" -le "$WRAPPER_BYTES_MAX" ]
}

case $mode in
  --all | --fast) main ;;
  *) die "takes nothing or --fast, not $mode" ;;
esac
