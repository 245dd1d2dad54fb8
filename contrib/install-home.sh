#!/bin/sh
# install.sh [--remove] [DIRECTORY]: puts farcc below DIRECTORY (~/.local) for you alone, or takes it away again. Needs no root.
#
# Units, D-Bus and completions are found there by themselves; so are the programs where DIRECTORY/bin is in PATH. With another
# DIRECTORY, what others look for in ~/.local/share is put there all the same.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
remove=
if [ "${1:-}" = --remove ]; then remove=1; shift; fi
case ${1:-} in -*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit 2 ;; esac
prefix=${1:-$HOME/.local}
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd -P)
data=${XDG_DATA_HOME:-$HOME/.local/share}

case $prefix in *[\"\\]*) echo "install.sh: units cannot name a directory with \" or \\: $prefix" >&2; exit 1 ;; esac

# Below which directory a file of ours belongs, and how it is called there.
place() {
  case $1 in
    share/*) base=$data name=${1#share/} ;;
    *) base=$prefix name=$1 ;;
  esac
}

put() {
  mkdir -p "$base/$(dirname "$name")"
  case $name in
    # In a unit % means something, and so does & to sed.
    systemd/user/*.service)
      exec=$(printf %s "$prefix" | sed 's/%/%%/g; s/[&|]/\\&/g')
      sed "s|^ExecStart=%h/.local/\([^ ]*\)|ExecStart=\"$exec/\1\"|" "$1" >"$base/$name"
      ;;
    *) cp -P "$1" "$base/$name" ;;
  esac
}

cd "$here"
find bin lib libexec share \( -type f -o -type l \) | while read -r file; do
  place "$file"
  rm -f "$base/$name"
  if [ -z "$remove" ]; then
    put "$file"
  elif [ -d "$base/$(dirname "$name")" ]; then
    (cd "$base" && rmdir -p --ignore-fail-on-non-empty "$(dirname "$name")")
  fi
done

if [ -d "${XDG_RUNTIME_DIR:-/nowhere}/systemd" ]; then systemctl --user daemon-reload; fi
if [ -n "$remove" ]; then exit; fi
echo "farcc is in $prefix."
case :$PATH: in *":$prefix/bin:"*) ;; *) echo "Put $prefix/bin into PATH." ;; esac
