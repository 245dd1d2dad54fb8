#!/bin/bash
# trees.sh: makes the file systems that the system test's machines are copied from, and prints where they are.
#
#   trees.sh builder    Debian 13 with systemd and bubblewrap, and no compiler and no header
#   trees.sh client     the same with gcc, g++, clang, make, headers, the sources of redis, and the user `dev`
#
# Made once and kept below target/system/trees/SUITE; the name holds the digest of this file, so that a changed recipe makes new ones.
# Packages come from wherever the machine's own apt gets them: mirror and proxy are read from its configuration.
# farcc itself is not in there: run.sh installs the build of the day into each copy.
set -eu
. "$(dirname "$0")/../lib.sh"

# The packages are tried on Debian 12 too.
SUITE=${FARCC_TREES_SUITE:-trixie}
BASE_PACKAGES=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,polkitd,bubblewrap,iproute2,ca-certificates
CLIENT_PACKAGES=(gcc g++ libc6-dev make clang)

trees=$CARGO_TARGET_DIR/system/trees/$SUITE
recipe=$(sha256sum "$0" | cut -c1-12)

main() {
  local kind=${1:-}
  case $kind in builder | client) ;; *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;; esac
  is_root || die "needs root: it boots machines"
  need debootstrap debootstrap /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring unshare util-linux dpkg-source dpkg-dev
  mkdir -p "$trees"
  exec 9>"$trees/lock" # two runs at once make each tree only once
  flock 9
  forget_old_recipes
  tree base
  tree "$kind"
}

# Prints where the tree of this kind is, after making it if it is not there. Only a finished tree has its final name.
tree() {
  local path=$trees/$1-$recipe
  if [ ! -d "$path" ]; then
    rm -rf "$path.partial"
    say "making the $1 tree (once)" >&2
    "make_$1" "$path.partial" >"$path.log" 2>&1 || die "making the $1 tree failed: $(tail -n 5 "$path.log"); all of it: $path.log"
    mv "$path.partial" "$path"
  fi
  [ "$1" = base ] || echo "$path"
}

forget_old_recipes() {
  local path
  for path in "$trees"/*-*; do
    case $path in *"-$recipe" | *"-$recipe.log") ;; *) rm -rf "$path" ;; esac
  done
}

make_base() {
  local proxy
  proxy=$(apt_setting Acquire::http::Proxy)
  # Without a mirror of its own in apt's configuration (another distribution), debootstrap uses its default.
  # shellcheck disable=SC2046 # absent when there is none
  http_proxy=${proxy#DIRECT} debootstrap --variant=minbase --include="$BASE_PACKAGES" "$SUITE" "$1" $(mirror)
  carry_apt_settings "$1"
  in_tree "$1" apt-get clean
  # These act on the kernel, which the machine shares with its host; and the last one waits for addresses that are there already.
  for unit in systemd-modules-load.service systemd-sysctl.service systemd-binfmt.service sys-kernel-debug.mount \
    sys-kernel-tracing.mount proc-sys-fs-binfmt_misc.automount systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$1/etc/systemd/system/$unit"
  done
  # What a copy is called and known by is its own affair.
  rm -f "$1/etc/hostname" "$1/etc/machine-id"
}

make_builder() {
  cp -a --reflink=auto "$trees/base-$recipe" "$1"
  # The claim of the whole test is that builders need neither.
  for forbidden in usr/bin/cc usr/bin/gcc usr/bin/clang usr/bin/as usr/include/stdio.h; do
    [ ! -e "$1/$forbidden" ] || die "a builder must not have /$forbidden"
  done
}

make_client() {
  cp -a --reflink=auto "$trees/base-$recipe" "$1"
  sed -n 's/^deb /deb-src /p' "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/source.list"
  in_tree "$1" apt-get update
  in_tree "$1" apt-get install -y --no-install-recommends "${CLIENT_PACKAGES[@]}"
  in_tree "$1" useradd --create-home --shell /bin/bash dev
  # As enable-linger does, but it wants a running logind.
  mkdir -p "$1/var/lib/systemd/linger" && touch "$1/var/lib/systemd/linger/dev"
  mkdir "$1/usr/src/redis-source"
  in_tree "$1" sh -c 'cd /usr/src/redis-source && apt-get source --download-only redis'
  # Unpacked from outside: dpkg-source needs perl modules that the tree can do without.
  dpkg-source --no-check --extract "$1"/usr/src/redis-source/*.dsc "$1/usr/src/redis"
  rm -rf "$1/usr/src/redis-source"
  in_tree "$1" apt-get clean
}

# The machine's own Debian mirror, if it has one. `apt-get indextargets` reads every format of sources that apt knows.
mirror() {
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }'
}

apt_setting() { apt-config dump --format '%v' "$1" 2>/dev/null || true; }

# Proxies, certificates and checks of dates, as on the machine itself.
carry_apt_settings() {
  apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https|Retries|ForceIPv|Check-).*[^"]"' | grep -v '""' \
    >"$1/etc/apt/apt.conf.d/90machine" || true
  if [ -e /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"; fi
}

# Runs a command in a tree, with name resolution and /proc, in namespaces of its own: no mount or process outlives it.
in_tree() {
  local tree=$1
  shift
  cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
  unshare --mount --pid --fork --kill-child sh -eu -c '
    mount -t proc proc "$0/proc"
    for d in null zero urandom; do touch "$0/dev/$d"; mount --bind "/dev/$d" "$0/dev/$d"; done
    exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
  ' "$tree" "$@"
}

main "$@"
