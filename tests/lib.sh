# shellcheck shell=bash
# What the test scripts share: where the project is, and how a missing program gets onto the machine.
# Sourced, never run. Expects `set -eu` of the script that sources it.

# The project's top directory, whoever calls from wherever.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$top/target}
# Of the make that may have started this: its options are not for the builds inside, and cargo builds anew what it built with others.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }

# need COMMAND PACKAGE [COMMAND PACKAGE]...: makes sure that each COMMAND is there. PACKAGE is Debian's name for what holds it.
# Root gets the packages installed; an ordinary user is shown the one command that would do it, and the script ends. A COMMAND
# with a slash is a file that must exist, for headers and the like.
need() {
  local missing=()
  while [ $# -gt 0 ]; do
    present "$1" || missing+=("$2")
    shift 2
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if command -v apt-get >/dev/null; then
    install_with apt-get install -y --no-install-recommends "${missing[@]}"
  elif command -v dnf >/dev/null; then
    # shellcheck disable=SC2046 # one word per package
    install_with dnf install -y $(fedora_names "${missing[@]}")
  else
    die "missing (by their Debian names): ${missing[*]}; neither apt-get nor dnf is here to install them"
  fi
}

present() { case $1 in */*) [ -e "$1" ] ;; *) command -v "$1" >/dev/null ;; esac; }

install_with() {
  is_root || { printf 'Some programs are missing. Install them with:\n\n  sudo %s\n\nand start this again.\n' "$*" >&2; exit 1; }
  say "installing: $*"
  # A bare machine has no package lists yet; elsewhere this is quick.
  if [ "$1" = apt-get ]; then apt-get update -qq; fi
  DEBIAN_FRONTEND=noninteractive "$@" >/dev/null
}

# Names that differ between the two families.
fedora_names() {
  local name
  for name; do
    case $name in
      g++) echo gcc-c++ ;;
      libc6-dev) echo glibc-devel ;;
      iproute2) echo iproute ;;
      shellcheck) echo ShellCheck ;;
      *) echo "$name" ;;
    esac
  done
}

# What building farcc and running any of its tests takes, beside Rust itself.
need_to_build() {
  command -v cargo >/dev/null || die "cargo is missing; install Rust as your distribution or rustup offers it (version: see rust-version in Cargo.toml)"
  need cc gcc make make bwrap bubblewrap
}

# The C sources of zstd, as the zstd-sys crate brings them: a real project that every build of farcc has at hand. Writes
# DIR/Makefile, which compiles each of them with $(CC) to DIR/obj, one object and one dependency file a unit.
zstd_project() {
  local dir=$1 platform sources part
  platform=$(rustc -vV | sed -n 's/^host: //p') # without it, cargo downloads what other platforms would need
  sources=$(cargo metadata --format-version 1 --locked --filter-platform "$platform" --manifest-path "$top/Cargo.toml" |
    jq -r '.packages[] | select(.name == "zstd-sys") | .manifest_path')
  sources=$(dirname "$sources")/zstd/lib
  [ -e "$sources/zstd.h" ] || die "the sources of zstd are not at $sources"
  mkdir -p "$dir/obj"
  {
    echo "PARTS := $(for part in common compress decompress dictBuilder legacy; do printf '%s ' "$sources/$part"; done)"
    cat <<'MAKEFILE'
SOURCES := $(foreach part,$(PARTS),$(wildcard $(part)/*.c))
VPATH := $(PARTS)
all: $(patsubst %.c,obj/%.o,$(notdir $(SOURCES)))
obj/%.o: %.c
	@$(CC) -O2 -g -MD -c $< -o $@
MAKEFILE
  } >"$dir/Makefile"
}

# User plus system time of a command and its children, in milliseconds, on standard output; the command's own goes to stderr.
cpu_ms() {
  local TIMEFORMAT='%U %S' spent
  { spent=$( { time "$@" >&3 2>&3; } 2>&1) || return; } 3>&2
  awk '{ printf "%d\n", ($1 + $2) * 1000 }' <<<"$spent"
}
