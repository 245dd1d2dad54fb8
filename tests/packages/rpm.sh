#!/bin/bash
# rpm.sh ROOT OLD NEW: run by run.sh as root. Installs the packages of the repository OLD with dnf into ROOT, the file system of a
# Debian that has systemd and lacks a database of RPM packages; upgrades to those of NEW, erases them, and looks at what each
# scriptlet did. Expects a mount namespace of its own. Nothing is booted, so it is about files, users and what is enabled.
set -eu
. "$(dirname "$0")/steps.sh"
root=$1 old=$2 new=$3

UNITS=(farcc-builder.service farcc-builder.socket farcc-scheduler.service farcc-scheduler.socket)
PACKAGES=(farcc farcc-common farcc-builder farcc-scheduler)

main() {
  mount -t proc proc "$root/proc"
  # As Fedora: what is installed is off until somebody enables it.
  mkdir -p "$root/usr/lib/systemd/system-preset" "$root/usr/lib/systemd/user-preset"
  echo 'disable *' | tee "$root/usr/lib/systemd/system-preset/99-default-disable.preset" >"$root/usr/lib/systemd/user-preset/99-default-disable.preset"
  begin "dnf installs"
  dnf_quietly "$old" install "${PACKAGES[@]}"
  nothing_is_enabled
  files_are_whole
  expect "$(in_root getent passwd farcc-builder | cut -d: -f5-)" "farcc builder:/var/lib/farcc-builder:/usr/sbin/nologin"
  expect "$(in_root getent passwd farcc-scheduler | cut -d: -f5-)" "farcc scheduler:/var/lib/farcc-scheduler:/usr/sbin/nologin"
  expect "$(in_root farcc --version)" "$(in_root farccctl --version | sed 's/^farccctl/farcc/')"
  in_root systemctl --quiet enable builder.socket farcc-scheduler.socket
  begin "dnf upgrades"
  dnf_quietly "$new" upgrade
  expect "$(query "${PACKAGES[@]}" | sort -u)" 2
  for unit in "${UNITS[@]}"; do expect "$unit $(enabled "$unit")" "$unit enabled"; done
  files_are_whole
  begin "dnf erases"
  dnf_quietly "$new" remove "${PACKAGES[@]}"
  expect "left: $(find "$root/usr" "$root/etc" -name '*farcc*' -o -name builder.socket)" "left: "
}

# What a scriptlet says is said here too.
dnf_quietly() {
  local repository=$1 said
  shift
  said=$(dnf -y --installroot="$root" --releasever=1 --disablerepo='*' --repofrompath="farcc,file://$repository" --nogpgcheck \
    --setopt=install_weak_deps=False --setopt=reposdir=/dev/null --setopt=keepcache=0 --refresh "$@" 2>&1) || fail "$said"
  ! grep -iE 'warning|error|failed|conflict' <<<"$said" || fail "$said"
}

query() { rpm --root "$root" -q --qf '%{RELEASE}\n' "$@"; }

in_root() { chroot "$root" "$@"; }

enabled() { in_root systemctl is-enabled "$1" 2>/dev/null || true; }

nothing_is_enabled() {
  local unit
  for unit in "${UNITS[@]}"; do expect "$unit $(enabled "$unit")" "$unit disabled"; done
  expect "$(enabled farcc-clients.socket)" disabled
  expect "$(in_root systemctl --global is-enabled farcc-client.socket || true)" disabled
}

# Owners, modes, contents and links are those of the packages.
files_are_whole() { expect "$(rpm --root "$root" -V --nodeps "${PACKAGES[@]}" 2>&1)" ""; }

main
