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

cd "$here"
find bin lib libexec share \( -type f -o -type l \) | while read -r file; do
  case $file in
    share/*) target=$data/${file#share/} ;;
    *) target=$prefix/$file ;;
  esac
  rm -f "$target"
  if [ -n "$remove" ]; then
    rmdir -p --ignore-fail-on-non-empty "$(dirname "$target")" 2>/dev/null || true
    continue
  fi
  mkdir -p "$(dirname "$target")"
  case $file in
    # Its path may have characters that mean something to systemd.
    share/systemd/user/*.service) sed "s|%h/.local/|$(printf %s "$prefix" | sed 's/%/%%/g; s/[&|\\]/\\&/g')/|" "$file" >"$target" ;;
    *) cp -P "$file" "$target" ;;
  esac
done

if [ -d "${XDG_RUNTIME_DIR:-/nowhere}/systemd" ]; then systemctl --user daemon-reload; fi
if [ -n "$remove" ]; then exit; fi
echo "farcc is in $prefix."
case :$PATH: in *":$prefix/bin:"*) ;; *) echo "Put $prefix/bin into PATH." ;; esac
