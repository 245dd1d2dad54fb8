#!/bin/bash
# alarm.sh: shows that the conformance run notices what it is there to notice.
#
# A compiler that is a few lines of shell takes the place of gcc, and a launcher that spoils one thing the place of farcc; each
# kind of damage must be reported as what it is. Takes a second, and ends with `alarm: N noticed`.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib.sh"
. "$here/compare.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# A package, as run.sh would read it from its list.
name=alarm CC=cc claim=all-remote work=$scratch/work place=$scratch/place
noticed=0

main() {
  programs
  expect 'ok' true
  expect 'differs: object:' 'echo damaged >>a.o'
  expect 'differs: mode:' 'chmod 600 a.o'
  expect 'differs: depfile:' 'echo damaged >>a.d'
  expect 'differs: stderr:' 'echo damaged >&2'
  expect 'differs, not all remote: status object depfile:' 'rm a.o a.d; exit 1'
  expect 'differs: ./left.over' 'touch left.over'
  expect 'differs: commands: 1 plainly, 2 with farcc' '$FRONT --version'
  expect 'not all remote' true 'local: incbin: logo.bin'
  expect 'not all remote' true 'this is no decision'
  expect 'undetermined' 'echo by farcc >>a.o' 'remote on b1' 'date +%N >>a.o'
  echo "alarm: $noticed noticed"
}

# The compiler adds a line of its own by $EXTRA; the launcher runs it, says where, and does $DAMAGE.
programs() {
  mkdir "$scratch/compilers" "$scratch/front"
  printf '%s\n' '#!/bin/sh' 'case $* in *-c*) echo object >a.o; echo a.o: a.c >a.d; eval "$EXTRA" ;; esac' 'echo a warning >&2' >"$scratch/compilers/cc"
  printf '%s\n' '#!/bin/sh' '"$@"' 'echo "farcc: a.c: $DECISION" >&2' 'case $* in *-c*) eval "$DAMAGE" ;; esac' >"$scratch/launcher"
  chmod +x "$scratch/compilers/cc" "$scratch/launcher"
  ln -s "$here/front" "$scratch/front/cc"
}

# expect RESULT DAMAGE [DECISION [EXTRA]]: the result of the row, and behind a colon how its first difference begins.
expect() {
  local result damage=$2 decision=${3:-remote on b1} extra=${4:-}
  rm -rf "$work"
  round plain1 '' && round plain2 '' && round farcc "$scratch/launcher"
  compare plain1 plain2 farcc
  verdict 0 >"$scratch/said" || true
  result="$(cut -f 11 "$work/row"): $(head -n 1 "$work/differences")"
  if [ "$1" = undetermined ]; then
    [ "$(cut -f 5-7,11 "$work/row")" = $'0\t1\t1\tok' ] || die "expected one undetermined unit: $(cat "$work/row")"
  else
    [[ $result = "$1"* ]] || die "expected '$1' of '$damage': $result"
  fi
  noticed=$((noticed + 1))
}

round() {
  rm -rf "$place"
  mkdir -p "$place" "$work/$1/records"
  (
    cd "$place"
    export CONFORMANCE_PATH=$scratch/compilers:$PATH CONFORMANCE_RECORDS=$work/$1/records CONFORMANCE_LAUNCHER=$2
    PATH=$scratch/front:$PATH DAMAGE=$damage DECISION=$decision EXTRA=$extra FRONT=$scratch/front/cc \
      sh -c 'cc -c a.c -MD -o a.o' 2>/dev/null || true
    list_files >"$work/$1/files"
  )
  index "$work/$1"
}

main
