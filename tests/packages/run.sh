#!/bin/bash
# run.sh [--from-source] [deb12|deb13|farm|rpm|tarball]...: installs, uses, upgrades, removes and purges the packages, and looks at what that leaves.
#
#   deb13  apt on a booted Debian 13        deb12  apt on a booted Debian 12
#   farm   apt on four machines, two Debian 12 and two Debian 13
#   rpm    dnf in the root of a Debian 13   tarball  install.sh by an ordinary user of a booted Debian 13
#
# Without names, all of them. Needs root. Packages are made of the build of the day (`make`); with --from-source from the archive of
# sources and crates, as they would be given away, in a namespace without a network.
#
# A booted machine has no network either, so that nothing a package needs can be missing unnoticed. Ends with
# `packages: N passed, N failed`; everything it made vanishes with it.
set -eu
. "$(dirname "$0")/../lib.sh"

here=$top/tests/packages
host=$top/tests/system/host
runs=$CARGO_TARGET_DIR/packages
version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' "$top/Cargo.toml")

main() {
  local from_source='' kinds=() kind passed=0 failed=0
  while [ $# -gt 0 ]; do
    case $1 in
      --from-source) from_source=1 ;;
      deb12 | deb13 | farm | rpm | tarball) kinds+=("$1") ;;
      *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
    esac
    shift
  done
  [ ${#kinds[@]} -gt 0 ] || kinds=(deb13 deb12 farm rpm tarball)
  is_root || die "needs root: it boots machines"
  need jq jq ip iproute2 unshare util-linux pandoc pandoc debootstrap debootstrap /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
  make_packages "$from_source" "${kinds[@]}"
  run=$runs/$$
  mkdir -p "$run"
  trap vanish EXIT
  trap 'exit 130' INT TERM HUP
  for kind in "${kinds[@]}"; do
    say "$kind"
    # A process of its own: within a condition, a function would go on after a command that fails.
    if "$here/run.sh" one "$kind" "$run"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  done
  echo "packages: $passed passed, $failed failed"
  [ "$failed" = 0 ]
}

vanish() {
  rm -rf "$run"
  "$host" sweep
}

make_packages() {
  local prebuilt=PREBUILT=1 quiet=() kind made=
  if [ -n "$1" ]; then
    prebuilt=
    # The crates come from the network, what is made of them must not.
    (cd "$top" && cargo fetch --locked)
    quiet=(env CARGO_NET_OFFLINE=true unshare --net)
  fi
  shift
  for kind; do
    case $kind in deb* | farm) kind=deb ;; esac
    case " $made " in *" $kind "*) continue ;; esac
    made="$made $kind"
    case $kind in
      deb) need dh debhelper dh_apparmor dh-apparmor lintian lintian ;;
      rpm) need rpmbuild rpm dnf dnf createrepo_c createrepo-c rpmlint rpmlint ;;
    esac
    say "making the $kind packages"
    mkdir -p "$runs"
    "${quiet[@]}" make -s -C "$top" "$kind" ${prebuilt:+"$prebuilt"} >"$runs/$kind.log" 2>&1 ||
      die "making the packages failed: $(tail -n 5 "$runs/$kind.log"); all of it: $runs/$kind.log"
  done
}

# With a compiler, so that what Debian's own infrastructure would run (debian/tests) is run too.
deb13() {
  lint_debian
  debian "$("$top/tests/system/trees.sh" client)"
}

deb12() { debian "$(FARCC_TREES_SUITE=bookworm "$top/tests/system/trees.sh" builder)"; }

debian() {
  furnish debian "$1"
  "$host" lab "$here/run.sh" inside "$run/debian" run packaged bash /packages/debian.sh
}

farm() {
  local old new machine
  old=$(FARCC_TREES_SUITE=bookworm "$top/tests/system/trees.sh" builder)
  new=$("$top/tests/system/trees.sh" builder)
  furnish scheduler "$old"
  furnish builder1 "$old"
  furnish builder2 "$new"
  furnish client "$("$top/tests/system/trees.sh" client)"
  for machine in scheduler builder1 builder2 client; do
    printf '%s\n' '127.0.0.1 localhost' '10.213.0.1 scheduler' '10.213.0.2 builder1' '10.213.0.3 builder2' '10.213.0.4 client' \
      >"$run/$machine/etc/hosts"
  done
  "$host" lab "$here/run.sh" inside-farm "$run" "$here/farm.sh" "$host"
}

# In the laboratory.
inside_farm() {
  local trees=$1 number=0 machine
  shift
  for machine in scheduler builder1 builder2 client; do
    number=$((number + 1))
    "$host" up "$machine" "$trees/$machine" "$number"
  done
  "$@"
}

# A machine with the packages of two versions in /packages, and what their tests need.
furnish() {
  local root=$run/$1
  rm -rf "$root"
  cp -a --reflink=auto "$2" "$root"
  mkdir -p "$root/packages/source/vendor/zstd-sys/zstd"
  [ -d "$run/next" ] || next_version
  cp -r "$CARGO_TARGET_DIR/deb" "$root/packages/old"
  cp -r "$run/next" "$root/packages/new"
  cp "$here/debian.sh" "$here/machine.sh" "$here/steps.sh" "$root/packages/"
  cp -r "$top/debian/tests" "$root/packages/source/"
  cp -r "$(sources_of_zstd)" "$root/packages/source/vendor/zstd-sys/zstd/lib"
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
}

# The crate brings them.
sources_of_zstd() {
  zstd_project "$run/zstd"
  sed -n 's|^PARTS := \(.*\)/common .*|\1|p' "$run/zstd/Makefile"
}

# The next version: the same files under a higher number.
next_version() {
  local package tree=$run/tree
  mkdir "$run/next"
  for package in "$CARGO_TARGET_DIR"/deb/*.deb; do
    dpkg-deb -R "$package" "$tree"
    sed -i "s/$version-1\b/$version-2/g" "$tree/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone -b "$tree" "$run/next/" >/dev/null
    rm -rf "$tree"
  done
}

# RPM packages of two versions as repositories, and one that stands for what the tree has from Debian.
rpm() {
  local root=$run/rpm/root version release
  lint_rpm
  mkdir -p "$run/rpm"
  cp -a --reflink=auto "$("$top/tests/system/trees.sh" builder)" "$root"
  for release in 1 2; do
    mkdir -p "$run/rpm/$release"
    if [ "$release" = 1 ]; then
      cp "$CARGO_TARGET_DIR"/rpm/RPMS/*/*.rpm "$run/rpm/1/"
    else
      next_rpm_version
    fi
    present_elsewhere "$run/rpm/$release"
    createrepo_c --quiet "$run/rpm/$release"
  done
  unshare --mount "$here/rpm.sh" "$root" "$run/rpm/1" "$run/rpm/2"
}

next_rpm_version() {
  local topdir=$run/rpm/topdir
  mkdir -p "$topdir"
  cp -r "$CARGO_TARGET_DIR/rpm/SOURCES" "$topdir/"
  sed 's/^Release:.*/Release:        2%{?dist}/' "$top/rpm/farcc.spec" >"$topdir/farcc.spec"
  rpmbuild --quiet -bb --load "$top/rpm/macros.elsewhere" --nodeps --with prebuilt --define "_topdir $topdir" "$topdir/farcc.spec" \
    >"$runs/rpm-next.log" 2>&1 || die "making the next version failed: $(tail -n 5 "$runs/rpm-next.log")"
  cp "$topdir"/RPMS/*/*.rpm "$run/rpm/2/"
}

# What the packages require and do not provide themselves.
present_elsewhere() {
  local provided
  provided=$(command rpm -qp --requires "$CARGO_TARGET_DIR"/rpm/RPMS/*/*.rpm | grep -vE '^(rpmlib|farcc)' | sort -u | sed 's/>=/=/' | paste -sd,)
  rpmbuild --quiet -bb --define "_topdir $run/rpm/elsewhere" --define "provided $provided" "$here/elsewhere.spec"
  cp "$run"/rpm/elsewhere/RPMS/noarch/*.rpm "$1/"
}

lint_rpm() {
  local said
  said=$(rpmlint -c "$top/rpm/rpmlint.toml" "$top/rpm/farcc.spec" "$CARGO_TARGET_DIR"/rpm/RPMS/*/*.rpm 2>&1 | grep -E ': [EW]: ' || true)
  [ -z "$said" ] || die "rpmlint: $said"
}

tarball() {
  local root=$run/tarball
  cp -a --reflink=auto "$("$top/tests/system/trees.sh" client)" "$root"
  mkdir "$root/packages"
  cp "$CARGO_TARGET_DIR"/tarball/*.tar.xz "$root/packages/"
  # The machine is a minimal one, without xz.
  xz -d "$root"/packages/*.tar.xz
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  "$host" lab "$here/run.sh" inside "$root" "$here/tarball.sh" "$host" packaged
}

# In the laboratory: boots a machine, and runs a test on it or beside it.
inside() {
  "$host" up packaged "$1" 1
  shift
  case $1 in run) "$host" "$@" ;; *) "$@" ;; esac
}

# What a package's own checker calls an error or a warning, and no override explains. The last word is that packages made of the
# build of the day lack their sources and what belongs to them.
lint_debian() {
  local found
  found=$(lintian --allow-root --fail-on none --tag-display-limit 0 "$CARGO_TARGET_DIR"/deb/*.changes | grep '^[EW]:' || true)
  [ -z "$found" ] || die "lintian: $found"
}

case ${1:-} in
  one)
    run=$3
    "$2"
    ;;
  inside)
    shift
    inside "$@"
    ;;
  inside-farm)
    shift
    inside_farm "$@"
    ;;
  *) main "$@" ;;
esac
