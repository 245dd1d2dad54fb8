#!/bin/bash
# run.sh [NAME | NAME/COMPILER]... (make conformance [PACKAGES=...]): builds Debian packages with farcc and without, and compares
# what each compile command made.
#
# Each package of the list (packages) is built at one path three times: twice plainly, and once through a throwaway farm on this
# machine (farccctl try) whose client has no local slots. A small program in front of the compilers (front) records the exit
# status, standard error, object and dependency file of every command, and in the end every file of the build is listed with its
# mode. What two plain builds agree on must come out of the third. What they do not agree on is compiled again with -frandom-seed
# and a fixed SOURCE_DATE_EPOCH, twice plainly and once through farcc; what still differs between the plain ones cannot be asked of farcc.
#
# Prints a table, and fails if anything differs or if a package of the list that claims `all-remote` has a local unit. The sources
# come from Debian's archive, by the machine's own apt and without a change to it. Everything is kept in target/conformance: what
# differs is written to the file that the last lines name, with the records of both sides.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib.sh"
. "$here/compare.sh"

base=$CARGO_TARGET_DIR/conformance
release=$CARGO_TARGET_DIR/release
jobs=$(($(nproc) * 2))
# Where compilers are, whatever a farm puts in front of it.
export CONFORMANCE_PATH=${CONFORMANCE_PATH:-$PATH}

main() {
  local rows=() row failed=0
  command -v apt-get >/dev/null || die "takes its packages from Debian's archive, which needs apt-get"
  mapfile -t rows < <(select_rows "$@")
  [ ${#rows[@]} -gt 0 ] || die "no package of that name: ${*:-the list is empty}"
  need_to_build
  need dpkg-source dpkg-dev /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring patch patch sha256sum coreutils
  for row in "${rows[@]}"; do prepare "$row"; done
  (cd "$top" && cargo build --release --locked)
  fronts
  say "whether differences are noticed"
  "$here/alarm.sh"
  for row in "${rows[@]}"; do conform "$row" || failed=$((failed + 1)); done
  echo
  { table_head; for row in "${rows[@]}"; do parse "$row"; cat "$work/row"; done; } | column -t -s $'\t'
  printf '\nconformance: %s builds, %s failed\n' "${#rows[@]}" "$failed"
  [ "$failed" = 0 ]
}

# The lines of the list that are asked for, once for each compiler: NAME SOURCE COMPILER CLAIM NEEDS RECIPE.
select_rows() {
  local name source compilers compiler claim needs recipe
  while read -r name source compilers claim needs recipe; do
    case $name in '' | '#'*) continue ;; esac
    for compiler in ${compilers//,/ }; do
      if [ $# = 0 ] || [[ " $* " = *" $name "* || " $* " = *" $name/$compiler "* ]]; then
        echo "$name $source $compiler $claim $needs $recipe"
      fi
    done
  done <"$here/packages"
}

# Gives the fields of a row their names.
parse() {
  read -r name source CC claim needs recipe <<<"$1"
  case $CC in *gcc) CXX=${CC%gcc}g++ ;; *) CXX=$CC++ ;; esac
  export CC CXX SOURCE=$base/sources/$source JOBS=$jobs HERE=$here
  work=$base/work/$name-$CC
  place=$base/build/$name
}

prepare() {
  local wanted
  parse "$1"
  case $CC in
    gcc) need gcc gcc g++ g++ ;;
    *-gcc) need "$CC" "gcc-${CC%-gcc}" "$CXX" "g++-${CC%-gcc}" ;;
    *) need "$CC" "$CC" ;;
  esac
  wanted=${needs#-}
  # shellcheck disable=SC2086 # pairs become words
  if [ -n "$wanted" ]; then need ${wanted//[,:]/ }; fi
  [ -d "$SOURCE" ] || fetch
}

# Fetches and unpacks a source package. Only what is complete has its final name.
fetch() {
  local fetched=$base/fetched/$source
  say "fetching the sources of $source"
  mkdir -p "$fetched" "$base/sources"
  if ! compgen -G "$fetched/*.dsc" >/dev/null; then
    apt_lists
    (cd "$fetched" && download) >"$fetched.log" 2>&1 || die "cannot fetch $source; see $fetched.log"
  fi
  rm -rf "$SOURCE.partial"
  dpkg-source --no-check --no-copy --extract "$fetched"/*.dsc "$SOURCE.partial" >"$fetched.log" 2>&1 || die "cannot unpack $source; see $fetched.log"
  mv "$SOURCE.partial" "$SOURCE"
}

# The newest version that there is: a mirror may not have all that its own list names.
download() {
  local version
  for version in $(apt-cache "${apt[@]}" showsrc "$source" | sed -n 's/^Version: //p' | sort --version-sort --reverse --unique); do
    if apt-get "${apt[@]}" source --download-only "$source=$version"; then return; fi
    rm -f ./*
  done
  return 1
}

# An apt with lists of its own, of the sources that belong to what the machine's apt knows. Needs no root and changes nothing.
apt_lists() {
  local state=$base/apt
  apt=(-qq -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$state/lists" -o Dir::Cache="$state/cache")
  [ ! -e "$state/complete" ] || return 0
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk '$1 == "Debian" { print "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $2, $3, $4 }' |
    sort -u >"$state/sources.list"
  [ -s "$state/sources.list" ] || die "the machine's apt knows no archive of Debian; has 'apt-get update' been run?"
  apt-get "${apt[@]}" update >"$state/log" 2>&1 || die "cannot read the lists of Debian's sources; see $state/log"
  touch "$state/complete"
}

# A directory with `front` under the name of each compiler.
fronts() {
  local compiler
  mkdir -p "$base/front"
  for compiler in cc c++ gcc g++ clang clang++ aarch64-linux-gnu-gcc aarch64-linux-gnu-g++; do
    # Left as it is, so that two runs of different packages do not disturb each other.
    if command -v "$compiler" >/dev/null && [ ! -e "$base/front/$compiler" ]; then ln -s "$here/front" "$base/front/$compiler"; fi
  done
}

# One row: builds, compares, and adds a line to the table.
conform() {
  local since=$SECONDS
  parse "$1"
  rm -rf "$work" && mkdir -p "$work"
  say "$name with $CC: two plain builds"
  build plain1 && build plain2 || return
  say "$name with $CC: through farcc"
  "$release/farccctl" try -- "$here/run.sh" inside "$1" >"$work/farm.log" 2>&1 || { complain "$work/farm.log"; return 1; }
  verdict $((SECONDS - since))
}

# Runs as the command of `farccctl try`, where farcc finds the throwaway farm.
inside() {
  parse "$1"
  build farcc
  compare plain1 plain2 farcc
  again
}

# build ROUND: one build from nothing, always at the same path. Leaves its records and the list of its files.
build() {
  local round=$work/$1
  rm -rf "$place"
  mkdir -p "$place" "$round/records"
  (cd "$place" && in_round "$1" bash -euc "$recipe") >"$round/log" 2>&1 </dev/null || { complain "$round/log"; return 1; }
  (cd "$place" && list_files) >"$round/files"
  index "$round"
}

complain() {
  tail -n 15 "$1" >&2
  say "$name with $CC: FAILED; all of it: $1"
  table_row "build failed"
}

# Runs a command with the compilers' fronts before them; the name of the round says whether farcc is behind these.
in_round() {
  local launcher='' round=$1
  shift
  case $round in *farcc) launcher=$release/farcc ;; esac
  PATH=$base/front:$CONFORMANCE_PATH CONFORMANCE_RECORDS=$work/$round/records CONFORMANCE_LAUNCHER=$launcher FARCC_LOG=info "$@"
}

# Compiles once more what the plain builds did not agree on: where the build has left everything, with nothing left to chance.
again() {
  local round
  [ -s "$work/farcc/random.units" ] || return 0
  export SOURCE_DATE_EPOCH=1700000000
  for round in again-plain1 again-plain2 again-farcc; do
    mkdir -p "$work/$round/records"
    cut -f 1 "$work/farcc/random.units" | in_round "$round" xargs -d '\n' -n 1 -P "$jobs" "$here/run.sh" repeat >>"$work/$round/log" 2>&1 || true
    index "$work/$round"
  done
  compare again-plain1 again-plain2 again-farcc
}

# Runs a recorded command again.
repeat() {
  local words
  mapfile -d '' words <"$1/command"
  cd "${words[0]}"
  exec "${words[@]:1}" -frandom-seed=1
}

case ${1:-} in
  inside | repeat) "$@" ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" ;;
  *) main "$@" ;;
esac
