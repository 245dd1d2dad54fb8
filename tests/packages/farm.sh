#!/bin/bash
# farm.sh HOST: run by run.sh beside four booted machines: `scheduler` and `builder1` (Debian 12), `builder2` and `client` (Debian 13,
# the latter with a compiler, sources and the user `dev`). Each has packages and scripts in /packages. Makes a farm of them from
# packages alone, as an administrator would, builds on it, upgrades it during a build, and removes everything again.
set -eu
. "$(dirname "$0")/steps.sh"
host=$1

builders=(builder1 builder2)
machines=(scheduler "${builders[@]}" client)

main() {
  begin "apt installs, and nothing is on"
  for machine in "${machines[@]}"; do
    on "$machine" before
    on "$machine" install_packages "old $(packages_of "$machine")"
    on "$machine" nothing_is_on "$(units_of "$machine")"
  done
  begin "the farm is set up"
  at scheduler "systemctl enable --now --quiet farcc-scheduler.socket && systemctl start farcc-scheduler.service"
  line=$(at scheduler "farccctl farm invite")
  for machine in "${builders[@]}"; do
    at "$machine" "farccctl farm join '$line' 2>/dev/null && systemctl enable --now --quiet builder.socket"
    on "$machine" eventually joined
    secret_is_a_credential "$machine"
  done
  dev "mkdir -p ~/.config/farcc && farccctl farm join --now '$line' 2>/dev/null && sed -i '1i local_slots = 0' ~/.config/farcc/config.toml && farccctl config check client"
  begin "a build uses both builders"
  dev "$MACHINE prepare_build"
  eventually_both_build
  begin "everything is to be seen on the bus"
  at scheduler "busctl --json=short get-property org.farcc.Scheduler1 /org/farcc/Scheduler1 org.farcc.Scheduler1 Builders" >"$scratch/builders"
  expect "$(jq '.data | map(select(.[5] == "ready")) | length' "$scratch/builders")" 2
  for machine in "${builders[@]}"; do
    expect "$(at "$machine" "busctl get-property org.farcc.Builder1 /org/farcc/Builder1 org.farcc.Builder1 State")" 's "ready"'
  done
  expect "$(dev "busctl --user get-property org.farcc.Client1 /org/farcc/Client1 org.farcc.Client1 SchedulerConnection")" 's "connected"'
  begin "polkit says who may drain, and the journal explains it"
  for machine in "${builders[@]}"; do on "$machine" polkit_decides; done
  on scheduler journal_explains builder1
  begin "builder and scheduler are upgraded during a build"
  upgrade
  begin "apt purges"
  dev "systemctl --user disable --now --quiet farcc-client.socket farcc-client.service"
  for machine in "${machines[@]}"; do
    on "$machine" apt_quietly purge "$(packages_of "$machine")"
    on "$machine" nothing_is_left
  done
}

packages_of() {
  case $1 in
    scheduler) echo farcc-common farcc-scheduler ;;
    builder*) echo farcc-common farcc-builder ;;
    client) echo farcc-common farcc ;;
  esac
}

units_of() {
  case $1 in
    scheduler) echo farcc-scheduler.{socket,service} ;;
    builder*) echo farcc-builder.{socket,service} ;;
    client) echo farcc-clients.socket ;;
  esac
}

# The service manager's to keep, and to hand to the service alone.
secret_is_a_credential() {
  expect "$1: $(at "$1" "stat -c '%a %U' /etc/credstore/farcc.token")" "$1: 600 root"
  at "$1" "! grep -rq token /etc/farcc && test -s /run/credentials/farcc-builder.service/farcc.token"
}

eventually_both_build() {
  local _ used=
  for _ in $(seq 60); do
    dev "$MACHINE build obj 'farcc gcc' && $MACHINE same_objects"
    used=$(dev "farccctl stats --json" | jq -r '.builders | keys | length')
    if [ "$used" = 2 ]; then return 0; fi
  done
  fail "builders used: $used"
}

# One after the other, each with a build at work.
upgrade() {
  local building
  dev "$MACHINE build_until_upgraded" >"$scratch/build" 2>&1 &
  building=$!
  for machine in builder1 scheduler builder2 client; do
    on "$machine" install_packages "new $(packages_of "$machine")"
  done
  for machine in "${builders[@]}"; do on "$machine" eventually joined; done
  kill -0 "$building" || fail "the build ended early: $(cat "$scratch/build")"
  dev "touch $BUILD/upgraded"
  wait "$building" || fail "the upgrade broke a build: $(cat "$scratch/build")"
  cat "$scratch/build"
}

# A shell script as root.
at() { "$host" run "$1" bash -euc "$2"; }

# A function of machine.sh, whose last argument may be several words.
on() {
  local machine=$1 last=${*: -1}
  shift
  # shellcheck disable=SC2086 # words
  "$host" run "$machine" bash /packages/machine.sh "${@:1:$#-1}" $last
}

BUILD=/home/dev/build
MACHINE="FARCC_TEST_BUILD=$BUILD bash /packages/machine.sh"

dev() { "$host" as dev client bash -euc "cd; $1"; }

explain() { for machine in "${machines[@]}"; do "$host" run "$machine" journalctl --no-pager -q -n 15 -t farcc-schedulerd -t farcc-builderd -t farcc-clientd; done; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
main
