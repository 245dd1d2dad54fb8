#!/bin/bash
# debian.sh: run by run.sh as root on a booted machine that has systemd, a bus and bubblewrap, the packages of a version in
# /packages/old, and those of the next in /packages/new. Ends with the first thing that is not as it should be.
set -eu
. "$(dirname "$0")/steps.sh"

UNITS=(farcc-builder.service farcc-builder.socket farcc-scheduler.service farcc-scheduler.socket)
PACKAGES=(farcc farcc-common farcc-builder farcc-scheduler)
export DEBIAN_FRONTEND=noninteractive

main() {
  before
  begin "apt installs"
  apt_quietly install /packages/old/*.deb
  nothing_is_on
  files_are_in_place
  if command -v gcc >/dev/null; then autopkgtests; fi
  begin "the farm is set up as the README says"
  set_up
  begin "polkit says who may drain"
  polkit_decides
  begin "apt upgrades"
  upgrade
  begin "apt installs the same once more"
  apt_quietly install --reinstall /packages/new/*.deb
  all_run
  begin "a package alone is removed"
  apt_quietly remove farcc-scheduler
  is_gone farcc-scheduler 10600
  runs farcc-builder.socket
  begin "and comes back as it was"
  apt_quietly install /packages/new/farcc-scheduler_*.deb
  expect "$(systemctl is-enabled farcc-scheduler.socket)" enabled
  systemctl start farcc-scheduler.socket
  all_run
  begin "apt removes"
  apt_quietly remove "${PACKAGES[@]}"
  is_gone farcc-scheduler 10600
  is_gone farcc-builder 10501
  kept_what_is_configured
  begin "apt purges"
  apt_quietly purge "${PACKAGES[@]}"
  nothing_is_left
}

explain() { journalctl --no-pager -n 30 -u "farcc*"; }

# dpkg's own complaints are in there: scripts that fail, files that two packages have, directories not empty.
apt_quietly() {
  local said
  said=$(apt-get -y --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@" 2>&1) || fail "$said"
  ! grep -iE '^(dpkg: )?(warning|error)|not empty|failed' <<<"$said" || fail "$said"
}

listening() { ss -Hltn "sport = :$1" | grep -q .; }

# Of a program that was replaced or removed, too.
daemon_runs() { readlink /proc/[0-9]*/exe | grep "^/usr/libexec/farcc/$1"; }

# What is in home directories is theirs: the counters of whoever built. And polkit, which the machine starts by itself, has a directory.
listing() {
  find / -xdev \( -path '/var/tmp/systemd-private-*-polkit.service-*' -o -path /root/.local -o -path /proc -o -path /sys -o -path /packages -o -path /tmp -o -path /run -o -path /var/log -o -path /var/cache/apt \
    -o -path /var/cache/debconf -o -path /var/lib/apt -o -path /var/lib/dpkg \) -prune -o -print | sort
}

before() {
  listing >/run/before
  cp /etc/passwd /run/passwd
  systemctl --failed --no-legend --plain | awk '{ print $1 }' >/run/failed
}

nothing_is_on() {
  local unit
  for unit in "${UNITS[@]}"; do
    expect "$unit $(systemctl is-enabled "$unit" || true) $(systemctl is-active "$unit" || true)" "$unit disabled inactive"
  done
  expect "$(systemctl --global is-enabled farcc-client.socket || true)" disabled
  ! listening 10600 || fail "the scheduler's port is open"
  ! listening 10501 || fail "the builder's port is open"
  ! daemon_runs '' || fail "a daemon runs"
  # Anybody may ask the bus for the name; that must not start what was never enabled.
  ! busctl --timeout=5 call org.farcc.Builder1 /org/farcc/Builder1 org.freedesktop.DBus.Peer Ping 2>/dev/null ||
    fail "the bus has started the builder"
}

files_are_in_place() {
  local user page said
  for user in builder scheduler; do
    expect "$(getent passwd "farcc-$user" | cut -d: -f5-)" "farcc $user:/var/lib/farcc-$user:/usr/sbin/nologin"
    [ "$(id -u "farcc-$user")" -lt 1000 ] || fail "farcc-$user is no system user"
  done
  said=$(systemd-analyze verify --man=no "${UNITS[@]/#/\/usr\/lib\/systemd\/system\/}" /usr/lib/systemd/system/builder.socket 2>&1 |
    grep -i farcc | grep -vE 'Unknown|Failed to parse (protect control groups|private tmp)|ignoring' || true)
  expect "$said" ""
  journalctl --dump-catalog 24a52dea131045fba456119d4b9a0956 | grep -q 'A farcc daemon has started' || fail "no catalog"
  for page in man1/farcc.1 man1/farccctl.1 man5/farcc.toml.5 man5/org.farcc.{Builder1,Client1,Scheduler1}.5 man7/farcc-{protocol,reasons}.7 \
    man8/farcc-{builder,client,scheduler}d.8; do
    # Minimal images leave manual pages out; dpkg knows of them all the same.
    dpkg -S "/usr/share/man/$page.gz" >/dev/null
  done
  [ "$(readlink -f /usr/lib/farcc/g++)" = /usr/bin/farcc ] || fail "g++ is not farcc"
  farcc --version >/dev/null
  farccctl --version >/dev/null
  # The completion knows what the program knows.
  # shellcheck disable=SC2016 # for the inner shell
  bash -c '. /usr/share/bash-completion/completions/farccctl
    COMP_WORDS=(farccctl farm "") COMP_CWORD=2
    _farccctl farccctl "" farm
    printf "%s\n" "${COMPREPLY[@]}"' | grep -qx join || fail "farccctl farm is not completed"
}

# As Debian's infrastructure would, in the source package's directory.
autopkgtests() {
  local name said
  for name in $(sed -n 's/^Tests: //p' /packages/source/tests/control); do
    begin "debian/tests/$name"
    said=$(cd /packages/source && "tests/$name" 2>&1) || fail "$said"
  done
  # The accounts have had their first start; what follows is about a machine that has not.
  systemctl clean --what=all farcc-builder.service farcc-scheduler.service
}

# Type=notify: the daemons are ready when systemctl returns, but the builder finds its scheduler in its own time.
set_up() {
  systemctl enable --now --quiet farcc-scheduler.socket
  systemctl start farcc-scheduler.service
  farccctl farm join --builder "$(farccctl farm invite --address 127.0.0.1)" 2>/dev/null
  systemctl enable --now --quiet builder.socket
  systemctl start farcc-builder.service
  all_run
  [ -n "$(ls /var/lib/farcc-builder /var/cache/farcc-builder)" ] || fail "the builder keeps nothing"
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
  begin "the journal explains what was done"
  farccctl drain "$(hostname)" 2>/dev/null
  farccctl resume "$(hostname)" 2>/dev/null
  journalctl -q -x -u farcc-scheduler | grep -q 'is under a new order: drained' || fail "no catalog text about a drain"
}

runs() {
  expect "$1 $(systemctl is-active "$1")" "$1 active"
  expect "$1 $(systemctl is-enabled "$1")" "$1 enabled"
}

all_run() {
  local unit
  for unit in "${UNITS[@]}"; do runs "$unit"; done
  eventually joined || fail "the builder has not joined: $(connection)"
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

# New daemons behind the sockets of before: nobody who connected meanwhile was refused.
upgrade() {
  local unit building=
  declare -A old
  for unit in "${UNITS[@]}"; do old[$unit]=$(property "$unit" InvocationID); done
  if command -v gcc >/dev/null; then
    prepare_build
    (set +E; trap - ERR; build_until_upgraded) >/run/build.log 2>&1 &
    building=$!
    eventually test -e "$BUILD/obj/1" || fail "the build did not begin: $(cat /run/build.log)"
  fi
  apt_quietly install /packages/new/*.deb
  touch /run/upgraded
  if [ -n "$building" ]; then
    wait "$building" || fail "the upgrade broke a build: $(cat /run/build.log)"
    cat /run/build.log
  fi
  expect "$(dpkg-query -W -f '${Version}\n' "${PACKAGES[@]}" | sort -u | wc -l)" 1
  all_run
  for unit in "${UNITS[@]}"; do
    case $unit in
      *.socket) expect "$unit $(property "$unit" InvocationID)" "$unit ${old[$unit]}" ;;
      *) [ "$(property "$unit" InvocationID)" != "${old[$unit]}" ] || fail "$unit is still the old one" ;;
    esac
  done
}

BUILD=/tmp/build

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
  # As the farm's client, with nothing of this machine to fall back on by choice.
  export XDG_RUNTIME_DIR=$BUILD XDG_CONFIG_HOME=$BUILD XDG_CACHE_HOME=$BUILD FARCC_LOCAL_SLOTS=0
  farccctl farm join --client "$(farccctl farm invite --address 127.0.0.1)" 2>/dev/null
}

build() { make -s -B -C "$BUILD" -j 4 TO="$1" CC="$2"; }

# Over and over, so that whatever the upgrade does it does to a build.
build_until_upgraded() {
  local round=0 object
  until [ -e /run/upgraded ]; do
    round=$((round + 1))
    touch "$BUILD/obj/$round"
    build obj "farcc gcc" || return 1
    for object in "$BUILD"/plain/*.o; do cmp "$object" "$BUILD/obj/${object##*/}" || return 1; done
  done
  farccctl stats
  farccctl stop
}

is_gone() {
  ! listening "$2" || fail "port $2 is still open"
  ! daemon_runs "$1" || fail "$1 still runs"
  [ ! -e "/usr/lib/systemd/system/$1.service" ] || fail "$1.service is still there"
}

kept_what_is_configured() {
  [ -s /etc/farcc/builder.toml.d/farm.toml ] || fail "removing has taken the configuration"
  [ -d /var/lib/farcc-scheduler ] || fail "removing has taken the scheduler's state"
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

main
