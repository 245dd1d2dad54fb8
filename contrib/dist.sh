#!/bin/bash
# dist.sh DIR (make dist): DIR/farcc-VERSION.tar.xz, the sources with every crate they need, for building without a network.
# dist.sh --deb DIR (make deb): Debian packages from that archive, source and binaries; needs what debian/control says.
# dist.sh --rpm DIR (make rpm): RPM packages from that archive; needs rpmbuild and what rpm/farcc.spec says.
# dist.sh --tarball DIR (make tarball): what `make` has built, for people without root.
#
# --deb and --rpm with --prebuilt: binary packages of what `make` has built, in seconds; for trying packages, not for giving away.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
release=$(realpath -m "${CARGO_TARGET_DIR:-$top/target}")/release

say() { printf '== %s\n' "$*"; }
die() { printf 'dist.sh: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is missing"; }

main() {
  what=--dist prebuilt=
  while [ $# -gt 1 ]; do
    case $1 in --deb | --rpm | --tarball) what=$1 ;; --prebuilt) prebuilt=1 ;; *) die "what is $1?" ;; esac
    shift
  done
  [ $# = 1 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
  mkdir -p "$1"
  cd "$1"
  version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' "$top/Cargo.toml")
  name=farcc-$version
  # Whoever makes the archive again gets the same one.
  SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct)}
  export SOURCE_DATE_EPOCH
  # debhelper gives a build another HOME, in which rustup, where Rust is from there, would find none.
  export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
  # A cleaning recipe must not reach the build of the day.
  unset CARGO_TARGET_DIR MAKEFLAGS MAKELEVEL
  case $what in
    --dist) dist ;;
    --deb) deb ;;
    --rpm) rpm ;;
    --tarball) tarball ;;
  esac
}

# The files of the working tree as they are now, without what git ignores, in ./$name.
sources() {
  rm -rf "$name"
  mkdir "$name"
  (cd "$top" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T -) | tar -x -C "$name"
}

# Of crates for Windows the manifests stay, which Cargo wants to see, and a library's empty beginning: nothing here is compiled from
# them, they are a third of the whole, and their import libraries are programs without source.
with_crates() {
  need cargo
  mkdir "$name/.cargo"
  (cd "$name" && cargo vendor --locked vendor >.cargo/config.toml)
  find "$name"/vendor/{windows,winapi}* -type f ! -name Cargo.toml ! -name .cargo-checksum.json ! -path '*/src/lib.rs' -delete
  find "$name"/vendor/{windows,winapi}* -type d -empty -delete
}

archive() {
  tar -c --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --mode=go=rX,u+rw,a-s "$name" | xz "$@"
}

dist() {
  say "collecting sources and crates"
  sources
  with_crates
  archive -T0 >"$name.tar.xz.new"
  mv "$name.tar.xz.new" "$name.tar.xz"
  rm -rf "$name"
  say "$PWD/$name.tar.xz"
}

# -d, here and below: Rust may come from elsewhere than the distribution, whose own may be too old. `make check` has the tests.
deb() {
  need dpkg-buildpackage
  need dh
  rm -rf -- *
  local options=(-us -uc -d)
  export DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS:-}"
  if [ -n "$prebuilt" ]; then
    sources
    take_programs
    export DEB_BUILD_PROFILES=pkg.farcc.prebuilt
    options+=(-b -nc)
  else
    dist
    mv "$name.tar.xz" "farcc_$version.orig.tar.xz"
    tar -xf "farcc_$version.orig.tar.xz"
  fi
  say "building Debian packages"
  (cd "$name" && dpkg-buildpackage "${options[@]}")
  rm -rf "$name"
  say "in $PWD:" ./*.deb
}

take_programs() {
  mkdir -p "$name/target/release"
  cp "$release"/farcc "$release"/farccctl "$release"/farcc-{client,scheduler,builder}d "$name/target/release/" ||
    die "what is built is not all there: run make first"
}

rpm() {
  need rpmbuild
  rm -rf -- *
  mkdir SOURCES
  cp "$top"/units/*.sysusers SOURCES/
  local options=(--define "_topdir $PWD" --define "use_source_date_epoch_as_buildtime 1")
  # Elsewhere than on Fedora and its kin, systemd's macros are missing and so is the database of installed packages.
  if [ -z "$(command rpm --eval '%{?_unitdir}')" ]; then
    options+=(--load "$top/rpm/macros.elsewhere" --nodeps)
  fi
  if [ -n "$prebuilt" ]; then
    sources
    take_programs
    archive -0 >"SOURCES/$name.tar.xz"
    rm -rf "$name"
    options+=(-bb --with prebuilt)
  else
    dist
    mv "$name.tar.xz" SOURCES/
    options+=(-ba)
  fi
  say "building RPM packages"
  rpmbuild "${options[@]}" "$top/rpm/farcc.spec"
  say "in $PWD:" RPMS/*/*.rpm
}

# Below one prefix, with units of the user's own service manager only; they say where ~/.local is.
tarball() {
  local prefix=/$name
  rm -rf "$name"
  make -s -C "$top" install-programs install-client install-home install-completions install-man \
    CARGO_TARGET_DIR="$(dirname "$release")" DESTDIR="$PWD" PREFIX="$prefix" USERUNITDIR="$prefix/share/systemd/user" \
    UNITEXECDIR="%h/.local/libexec/farcc"
  archive -T0 >"$name-$(uname -m).tar.xz"
  rm -rf "$name"
  say "$PWD/$name-$(uname -m).tar.xz; it needs the C library of this machine or a newer one"
}

main "$@"
