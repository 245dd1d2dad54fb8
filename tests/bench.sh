#!/bin/bash
# bench.sh (make bench): what farcc costs, on a throwaway farm over loopback.
#
#   1. the wall time that distribution adds to an empty C unit: hyperfine, median of 30 each, by turns with plain gcc
#   2. client CPU for a distributed unit: user plus system time of wrappers and daemon over the units of zstd, without make's own
#
# Prints figures and judges none: a machine with other work on it measures that work.
set -eu
. "$(dirname "$0")/lib.sh"

work=$CARGO_TARGET_DIR/bench
release=$CARGO_TARGET_DIR/release
jobs=$(nproc)

main() {
  need_to_build
  need jq jq hyperfine hyperfine
  say "building farcc"
  (cd "$top" && cargo build --release --locked)
  rm -rf "$work"
  zstd_project "$work"
  # In there, the compilers' names are farcc.
  PLAIN_GCC=$(command -v gcc)
  export PLAIN_GCC
  PATH=$release:$PATH farccctl try -- "$top/tests/bench.sh" inside
}

inside() {
  cd "$work"
  empty_unit
  zstd_units
  # A figure of units that were not distributed would be worthless.
  local fallbacks local_units
  fallbacks=$(farccctl stats --json | jq .fallbacks)
  local_units=$(farccctl stats --json | jq .local)
  [ "$fallbacks $local_units" = "0 0" ] || die "$local_units units were compiled locally, $fallbacks of them by a fault"
}

empty_unit() {
  local turn plain farcc
  : >empty.c
  # Six by turns: what else goes on at a machine meets both.
  for turn in 1 2 3 4 5 6; do
    hyperfine -N --style none --warmup 2 --runs 5 --export-json "empty-$turn.json" \
      "$PLAIN_GCC -c empty.c -o plain.o" 'farcc gcc -c empty.c -o farcc.o' >&2
  done
  cmp plain.o farcc.o
  plain=$(median_ms 0)
  farcc=$(median_ms 1)
  printf 'empty unit, median of 30: plain %.1f ms, distributed %.1f ms, added %.1f ms\n' "$plain" "$farcc" \
    "$(jq -n "$farcc - $plain")"
}

# Of all times of the command with this number.
median_ms() {
  jq -s --argjson command "$1" 'map(.results[$command].times[] * 1000) | sort | (.[14] + .[15]) / 2' empty-?.json
}

zstd_units() {
  local units before after wrappers alone
  build() { for _ in 1 2; do make -s -B -j "$jobs" CC="$1"; done; }
  build "farcc gcc" # to warm up: toolchain and headers are at the builder afterwards
  units=$((2 * $(find obj -name '*.o' | wc -l)))
  before=$(daemon_ms)
  wrappers=$(cpu_ms build "farcc gcc")
  after=$(daemon_ms)
  alone=$(cpu_ms build true)
  printf 'client CPU, %d units: wrappers %d ms, daemon %d ms, %.1f ms a unit\n' "$units" $((wrappers - alone)) \
    $((after - before)) "$(jq -n "($wrappers - $alone + $after - $before) / $units")"
}

daemon_ms() { farccctl status --json | jq '.cpu | .secs * 1000 + .nanos / 1e6 | floor'; }

case ${1:-} in
  '') main ;;
  inside) inside ;;
  *) die "takes no arguments" ;;
esac
