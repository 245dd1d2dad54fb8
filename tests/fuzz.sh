#!/bin/bash
# fuzz.sh [--brief] [TARGET...] (make fuzz): looks for bytes that make farcc panic, run out of bounds or never end, guided by what
# code they reach.
#
# Each target in fuzz/targets runs for FARCC_FUZZ_SECONDS (60), or with --brief for a number of inputs that takes some seconds. It
# begins with real files, and with what earlier runs found worth keeping, in target/fuzz/corpus. An input that fails is kept in
# target/fuzz/failed, and named: `target/fuzz/HOST/release/TARGET FILE` runs it alone.
set -eu -o pipefail
. "$(dirname "$0")/lib.sh"

BRIEF_INPUTS=20000
# The instrumentation that cargo-fuzz asks the compiler for; a stable one knows it too. Without its sanitizers: this is safe Rust.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

main() {
  local limit=(-max_total_time="${FARCC_FUZZ_SECONDS:-60}") target targets=()
  if [ "${1:-}" = --brief ]; then
    limit=(-runs="$BRIEF_INPUTS" -seed=1)
    shift
  fi
  targets=("$@")
  [ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/^name = "\(.*\)"/\1/p' "$top/fuzz/Cargo.toml" | tail -n +2)
  need_to_build
  need g++ g++ gcc gcc xz xz-utils zstd zstd
  out=$CARGO_TARGET_DIR/fuzz
  host=$(rustc -vV | sed -n 's/^host: //p')
  # With a target named, build scripts are not instrumented.
  cargo build --release --locked --manifest-path "$top/fuzz/Cargo.toml" --target-dir "$out" --target "$host"
  mkdir -p "$out/failed"
  for target in "${targets[@]}"; do
    mkdir -p "$out/corpus/$target"
    "seed_$target" "$out/corpus/$target"
    say "fuzzing $target"
    # What it says of its progress is for those who watch it.
    TMPDIR=$out "$out/$host/release/$target" "${limit[@]}" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$out/failed/$target-" \
      "$out/corpus/$target" >"$out/$target.log" 2>&1 || die "$target failed: $(tail -n 20 "$out/$target.log")"
    sed -n '$s/^/   /p' "$out/$target.log"
  done
  rm -rf "$out"/farcc-fuzz-*
  echo "fuzz: ${#targets[@]} targets passed"
}

# Command lines of the table of cases, one a file.
seed_command_line() {
  local line number=0
  while read -r line; do
    number=$((number + 1))
    { printf '\0'; tr ' ' '\0' <<<"$line"; } >"$1/seed-$number"
  done < <(grep -rhoE '^(\$ )?(gcc|clang|g\+\+) .*' "$top/tests/cases" | sort -u | head -n 200)
}

seed_response_file() { printf '@1 -c "a b.c"\0-O2 @2 \\\n-g\0-Wall' >"$1/seed"; }

seed_text() {
  cp "$top/tests/compiler.rs" "$1/seed-source"
  echo '#include <stdio.h>' | gcc -E -MD -MF "$1/seed-list" -o "$1/seed-preprocessed" -x c -
  gcc -v -E -x c /dev/null >/dev/null 2>"$1/seed-search"
  gcc '-###' -c -x c /dev/null >/dev/null 2>"$1/seed-commands"
}

seed_elf() { head -c 65536 "$(readlink -f /bin/true)" >"$1/seed-program"; head -c 65536 "$(ls /lib*/ld-linux-*.so.* | head -n 1)" >"$1/seed-loader"; }

seed_archive() {
  (cd "$top" && tar -cf "$1/seed-tar" Makefile README.md units && gzip -c "$1/seed-tar" >"$1/seed-gzip" && zstd -qcf "$1/seed-tar" >"$1/seed-zstd" &&
    xz -c "$1/seed-tar" >"$1/seed-xz")
}

seed_frames() { printf '\5\0\0\0\201\244Stop' >"$1/seed"; }

main "$@"
