#!/bin/bash
# run.sh [--shell] [--faults | TEST...] (make system-test, make faults): the system test, on four machines booted with systemd on this one.
#
# Runs everything, and each fault once; with --faults the faults only, each of them twenty times (FARCC_FAULT_ROUNDS) at random
# moments; with names, or parts of names, only those tests.
#
# With --shell a shell follows in which `host run client farccctl status` and the like reach the machines.
#
# Makes the machines' file systems (trees.sh), installs the build of the day into a copy for each with `make install`, boots
# them (host), and hands over to the test program (main.rs), which sets the farm up as an administrator would and looks at it
# through its public faces only. FARCC_SEED=N replays the random moments of a run. The machines' journals are kept in
# target/system/journal. Whatever way the run ends, its machines, network and files vanish with it.
set -eu -o pipefail
. "$(dirname "$0")/../lib.sh"

here=$top/tests/system
runs=$CARGO_TARGET_DIR/system/runs
machines=(scheduler builder1 builder2 client)

main() {
  local test_program
  is_root || die "needs root: it boots machines"
  need_to_build
  need jq jq ip iproute2 pgrep procps unshare util-linux nsenter util-linux
  local builder_tree client_tree
  builder_tree=$("$here/trees.sh" builder)
  client_tree=$("$here/trees.sh" client)
  cd "$top"
  cargo build --release --locked
  test_program=$(cargo test --locked --features system-tests --test system --no-run --message-format=json |
    jq -r 'select(.profile.test and .target.name == "system").executable')

  run=$runs/$$
  mkdir -p "$run"
  trap vanish EXIT
  trap 'exit 130' INT TERM HUP
  say "installing farcc on four machines"
  make -s install DESTDIR="$run/installed"
  for machine in "${machines[@]}"; do
    case $machine in client) furnish "$machine" "$client_tree" ;; *) furnish "$machine" "$builder_tree" ;; esac
  done
  # In the background, so that a signal is heard at once; the machines die with this script even if it is killed.
  setpriv --pdeathsig KILL "$here/host" lab "$0" inside "$run" "$test_program" "$@" <&0 &
  lab=$!
  wait "$lab"
}

# A copy of its own, on a real file system: a builder stacks overlays, which an overlay cannot carry.
furnish() {
  cp -a --reflink=auto "$2" "$run/$1"
  cp -a "$run/installed/." "$run/$1/"
  chroot "$run/$1" systemd-sysusers
  printf '%s\n' '127.0.0.1 localhost' '10.213.0.1 scheduler' 'fd00:213::1 scheduler6' '10.213.0.2 builder1' '10.213.0.3 builder2' \
    '10.213.0.4 client' >"$run/$1/etc/hosts"
  # Left to itself, systemd would take the id of the machine below, the same for all four.
  tr -d - </proc/sys/kernel/random/uuid >"$run/$1/etc/machine-id"
}

vanish() {
  if [ -n "${lab:-}" ]; then kill -9 "$lab" 2>/dev/null || true; fi
  rm -rf "$run"
  "$here/host" sweep
}

# In the laboratory: every process and network device of it ends with this function's process.
inside() {
  local run=$1 test_program=$2 machine number=0 pids=() status=0 shell=
  shift 2
  if [ "${1:-}" = --shell ]; then
    shell=1
    shift
  fi
  for machine in "${machines[@]}"; do
    number=$((number + 1))
    "$here/host" up "$machine" "$run/$machine" "$number" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  export FARCC_SYSTEM_HOST=$here/host
  if [ "${1:-}" = --faults ]; then
    export FARCC_FAULT_ROUNDS=${FARCC_FAULT_ROUNDS:-20}
    set -- faults
  fi
  "$test_program" --test-threads=1 --nocapture "$@" </dev/null || status=$?
  if [ -n "$shell" ]; then PATH=$here:$PATH bash || true; fi
  mkdir -p "$CARGO_TARGET_DIR/system/journal"
  for machine in "${machines[@]}"; do
    "$here/host" run "$machine" journalctl -o short-precise >"$CARGO_TARGET_DIR/system/journal/$machine" || true
  done
  return "$status"
}

case ${1:-} in
  inside) shift; inside "$@" ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" ;;
  *) main "$@" ;;
esac
