#!/bin/bash
# debian.sh: run by run.sh as root on a booted machine that has systemd, a bus and bubblewrap, the packages of a version in
# /packages/old, and those of the next in /packages/new. Ends with the first thing that is not as it should be.
set -eu
. "$(dirname "$0")/machine.sh"

UNITS=(farcc-builder.service farcc-builder.socket farcc-scheduler.service farcc-scheduler.socket)
PACKAGES=(farcc farcc-common farcc-builder farcc-scheduler)

main() {
  before
  begin "apt installs"
  apt_quietly install /packages/old/*.deb
  nothing_is_on "${UNITS[@]}" farcc-clients.socket
  expect "$(systemctl --global is-enabled farcc-client.socket || true)" disabled
  files_are_in_place
  if command -v gcc >/dev/null; then autopkgtests; fi
  begin "the farm is set up as the README says"
  set_up
  begin "polkit says who may drain"
  polkit_decides
  begin "the journal explains what was done"
  journal_explains "$(hostname)"
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

files_are_in_place() {
  local user page said
  for user in builder scheduler; do
    expect "$(getent passwd "farcc-$user" | cut -d: -f5-)" "farcc $user:/var/lib/farcc-$user:/usr/sbin/nologin"
    [ "$(id -u "farcc-$user")" -lt 1000 ] || fail "farcc-$user is no system user"
  done
  said=$(systemd-analyze verify --man=no "${UNITS[@]/#/\/usr\/lib\/systemd\/system\/}" /usr/lib/systemd/system/builder.socket \
    /usr/lib/systemd/system/farcc-clients.socket /usr/lib/systemd/system/farcc-client@.{service,socket} 2>&1 |
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

runs() {
  expect "$1 $(systemctl is-active "$1")" "$1 active"
  expect "$1 $(systemctl is-enabled "$1")" "$1 enabled"
}

all_run() {
  local unit
  for unit in "${UNITS[@]}"; do runs "$unit"; done
  eventually joined || fail "the builder has not joined: $(connection)"
}

# New daemons behind the sockets of before: nobody who connected meanwhile was refused.
upgrade() {
  local unit building=
  declare -A old
  for unit in "${UNITS[@]}"; do old[$unit]=$(property "$unit" InvocationID); done
  if command -v gcc >/dev/null; then
    prepare_build
    # As the farm's client, with nothing of this machine to fall back on by choice.
    export XDG_RUNTIME_DIR=$BUILD XDG_CONFIG_HOME=$BUILD XDG_CACHE_HOME=$BUILD FARCC_LOCAL_SLOTS=0
    farccctl farm join --client "$(farccctl farm invite --address 127.0.0.1)" 2>/dev/null
    (set +E; trap - ERR; build_until_upgraded) >/run/build.log 2>&1 &
    building=$!
    eventually test -e "$BUILD/obj/1" || fail "the build did not begin: $(cat /run/build.log)"
  fi
  apt_quietly install /packages/new/*.deb
  if [ -n "$building" ]; then
    touch "$BUILD/upgraded"
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

kept_what_is_configured() {
  [ -s /etc/credstore/farcc.token ] || fail "removing has taken the token"
  [ -s /etc/farcc/builder.toml.d/farm.toml ] || fail "removing has taken the configuration"
  [ -d /var/lib/farcc-scheduler ] || fail "removing has taken the scheduler's state"
}

main
