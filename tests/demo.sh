#!/bin/bash
# demo.sh (make demo): compiles the C sources of zstd through a throwaway farm on this machine, and compares every object and
# dependency file with what plain gcc makes at the same path. Needs no root, no systemd and no configuration; started by root,
# the daemons give root up. Ends with `demo: N units, N remote, N identical`; a difference or a local compile is a failure.
set -eu
. "$(dirname "$0")/lib.sh"

work=$CARGO_TARGET_DIR/demo
release=$CARGO_TARGET_DIR/release
jobs=$(nproc)

main() {
  need_to_build
  need jq jq
  say "building farcc"
  (cd "$top" && cargo build --release --locked)
  rm -rf "$work"
  zstd_project "$work"
  cd "$work"

  say "compiling zstd with plain gcc"
  build gcc
  mv obj plain && mkdir obj

  say "compiling zstd through a farm of three daemons"
  PATH=$release:$PATH farccctl try -- "$top/tests/demo.sh" inside || die "the build through the farm failed"
  leftovers
  report
}

# Runs as the command of `farccctl try`, where farcc and farccctl speak to the throwaway farm.
inside() {
  local started=$EPOCHREALTIME
  cd "$work"
  cpu_ms make -s -j "$jobs" CC="farcc gcc" >wrappers.ms
  echo "$EPOCHREALTIME - $started" >wall
  farccctl stats --json >stats.json
  farccctl status --json >status.json
}

build() { make -s -j "$jobs" CC="$1"; }

report() {
  local units remote fallbacks identical wall client
  units=$(find plain -name '*.o' | wc -l)
  remote=$(jq .remote stats.json)
  fallbacks=$(jq .fallbacks stats.json)
  identical=$(count_identical)
  wall=$(awk '{ printf "%.1f", $1 - $3 }' wall)
  client=$(client_cpu)
  echo
  printf '%-34s %s\n' units "$units" remote "$remote" local "$(jq .local stats.json)"
  jq -r '.reasons | to_entries[] | "  because of \(.key)\t\(.value)"' stats.json | expand -t 35
  jq -r '.builders | to_entries[] | "  by \(.key)\t\(.value)"' stats.json | expand -t 35
  printf '%-34s %s s\n' "time, -j$jobs" "$wall"
  printf '%-34s %s ms (%s ms a unit)\n\n' "client CPU, wrappers and daemon" "$client" "$(awk "BEGIN { printf \"%.1f\", $client / $units }")"
  printf 'demo: %s units, %s remote, %s identical\n' "$units" "$remote" "$identical"
  [ "$units" -gt 0 ] && [ "$remote" = "$units" ] && [ "$identical" = "$units" ] && [ "$fallbacks" = 0 ]
}

# A unit counts when its object and its dependency file are both those of plain gcc.
count_identical() {
  local object n=0
  for object in plain/*.o; do
    object=${object#plain/}
    if cmp -s "plain/$object" "obj/$object" && cmp -s "plain/${object%.o}.d" "obj/${object%.o}.d"; then
      n=$((n + 1))
    else
      echo "differs: $object" >&2
    fi
  done
  echo "$n"
}

# Wrappers and daemon; what make itself takes is measured with a compiler that does nothing, and left out.
client_cpu() {
  local make_alone daemon
  make_alone=$(cpu_ms make -s -B -j "$jobs" CC=true)
  daemon=$(jq '.cpu | .secs * 1000 + .nanos / 1e6 | floor' status.json)
  echo $(($(cat wrappers.ms) - make_alone + daemon))
}

# Whatever runs one of the programs just built.
leftovers() {
  local exe
  for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" 2>/dev/null) in "$release"/farcc*) die "still running: $(tr '\0' ' ' <"${exe%exe}cmdline")" ;; esac
  done
}

case ${1:-} in
  '') main ;;
  inside) inside ;;
  *) die "takes no arguments" ;;
esac
