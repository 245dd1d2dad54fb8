#!/bin/bash
# machine.sh [COMMAND...]: what the tests of Debian's packages do and look for on a booted machine, which has systemd, a bus, polkit,
# the packages of a version in /packages/old and those of the next in /packages/new. Sourced by the test of one machine (debian.sh);
# that of a farm (farm.sh) runs its functions on each.
set -eu
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

export DEBIAN_FRONTEND=noninteractive

explain() { journalctl --no-pager -n 30 -u "farcc*"; }

# dpkg's own complaints are in there: scripts that fail, files that two packages have, directories not empty.
apt_quietly() {
  local said
  said=$(apt-get -y --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@" 2>&1) || fail "$said"
  ! grep -iE '^(dpkg: )?(warning|error)|not empty|failed' <<<"$said" || fail "$said"
}

# install_packages old|new PACKAGE...; then all of them are of that version.
install_packages() {
  local from=/packages/$1 files=() package
  shift
  for package; do files+=("$from/${package}"_*.deb); done
  apt_quietly install "${files[@]}"
  expect "$(dpkg-query -W -f '${Version}\n' "$@" | sort -u | wc -l)" 1
}

listening() { ss -Hltn "sport = :$1" | grep -q .; }

# Of a program that was replaced or removed, too.
daemon_runs() { readlink /proc/[0-9]*/exe | grep "^/usr/libexec/farcc/$1"; }

# What is in home directories is theirs: the counters of whoever built. And polkit, which the machine starts by itself, has a directory.
listing() {
  find / -xdev \( -path '/var/tmp/systemd-private-*-polkit.service-*' -o -path /root/.local -o -path /home -o -path /proc -o -path /sys -o -path /packages -o -path /tmp -o -path /run -o -path /var/log -o -path /var/cache/apt \
    -o -path /var/cache/debconf -o -path /var/lib/apt -o -path /var/lib/dpkg \) -prune -o -print | sort
}

before() {
  listing >/run/before
  cp /etc/passwd /run/passwd
  systemctl --failed --no-legend --plain | awk '{ print $1 }' >/run/failed
}

# Of the units that were installed.
nothing_is_on() {
  local unit
  for unit; do
    expect "$unit $(systemctl is-enabled "$unit" || true) $(systemctl is-active "$unit" || true)" "$unit disabled inactive"
  done
  ! listening 10600 || fail "the scheduler's port is open"
  ! listening 10501 || fail "the builder's port is open"
  ! daemon_runs '' || fail "a daemon runs"
  # Anybody may ask the bus for the name; that must not start what was never enabled.
  ! busctl --timeout=5 call org.farcc.Builder1 /org/farcc/Builder1 org.freedesktop.DBus.Peer Ping 2>/dev/null ||
    fail "the bus has started the builder"
}

# Two users that every Debian has; a rule allows one of them, and one thing.
polkit_decides() {
  local rule=/etc/polkit-1/rules.d/50-farm.rules as_games=(setpriv --reuid games --regid games --clear-groups)
  echo 'polkit.addRule(function(action, subject) {
    if (action.id == "org.farcc.builder.drain" && subject.user == "games") return polkit.Result.YES; });' >"$rule"
  ! setpriv --reuid nobody --regid nogroup --clear-groups farccctl drain 2>/dev/null || fail "anybody drains"
  ! "${as_games[@]}" farccctl toolchain purge 2>/dev/null || fail "the rule is about more than it says"
  "${as_games[@]}" farccctl drain 2>/dev/null
  expect "$(busctl get-property org.farcc.Builder1 /org/farcc/Builder1 org.farcc.Builder1 State)" 's "draining"'
  "${as_games[@]}" farccctl resume 2>/dev/null
  expect "$(busctl get-property org.farcc.Builder1 /org/farcc/Builder1 org.farcc.Builder1 State)" 's "ready"'
  rm "$rule"
}

# The scheduler's, of a builder by its name.
journal_explains() {
  farccctl drain "$1" 2>/dev/null
  farccctl resume "$1" 2>/dev/null
  journalctl -q -x -u farcc-scheduler | grep -q 'is under a new order: drained' || fail "no catalog text about a drain"
}

is_gone() {
  ! listening "$2" || fail "port $2 is still open"
  ! daemon_runs "$1" || fail "$1 still runs"
  [ ! -e "/usr/lib/systemd/system/$1.service" ] || fail "$1.service is still there"
}

nothing_is_left() {
  local left
  left=$(comm -13 /run/before <(listing) | grep -vE '^/var/lib/systemd/(catalog|deb-systemd|timers|random-seed|linger|coredump)|^/etc/\.pwd\.lock|^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|^/var/(cache|lib)/private' || true)
  expect "left: $left" "left: "
  left=$(grep farcc /etc/passwd /etc/group /etc/shadow /etc/gshadow || true)
  expect "left: $left" "left: "
  left=$(find /etc/systemd /run/systemd /var/lib/systemd -name '*farcc*' -not -path '*/units/*' -not -path '*/transient/*' || true)
  expect "left: $left" "left: "
  expect "$(systemctl --failed --no-legend --plain | awk '{ print $1 }' | comm -13 /run/failed -)" ""
  systemctl list-unit-files --no-legend 'farcc*' 'builder.socket' | { ! grep . ; } || fail "units are left"
}

connection() { busctl get-property org.farcc.Builder1 /org/farcc/Builder1 org.farcc.Builder1 SchedulerConnection 2>&1 || true; }

joined() { [ "$(connection)" = 's "connected"' ]; }

# Tries for half a minute: what is waited for mostly is there at once.
eventually() {
  local _
  for _ in $(seq 300); do
    if "$@"; then return 0; fi
    sleep 0.1
  done
  return 1
}

property() { systemctl show --value -p "$2" "$1"; }

BUILD=${FARCC_TEST_BUILD:-/tmp/build}

# Some units that take a while, as plain gcc compiles them.
prepare_build() {
  mkdir -p "$BUILD/obj" "$BUILD/plain"
  cat >"$BUILD/Makefile" <<'MAKEFILE'
VPATH := $(wildcard /packages/source/vendor/zstd-sys*/zstd/lib/decompress)
UNITS := huf_decompress.c zstd_ddict.c zstd_decompress.c zstd_decompress_block.c
all: $(addprefix $(TO)/,$(UNITS:.c=.o))
$(TO)/%.o: %.c
	$(CC) -O1 -g -MD -MT $@ -c $< -o $@
MAKEFILE
  build plain gcc
}

build() { make -s -B -C "$BUILD" -j 4 TO="$1" CC="$2"; }

same_objects() {
  local object
  for object in "$BUILD"/plain/*.o; do cmp "$object" "$BUILD/obj/${object##*/}" || return 1; done
}

# Over and over, so that whatever the upgrade does it does to a build.
build_until_upgraded() {
  local round=0
  until [ -e "$BUILD/upgraded" ]; do
    round=$((round + 1))
    touch "$BUILD/obj/$round"
    build obj "farcc gcc" || return 1
    same_objects || return 1
  done
  farccctl stats
  farccctl stop
}

if [ "$0" = "${BASH_SOURCE[0]}" ]; then "$@"; fi
