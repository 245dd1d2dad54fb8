#!/bin/bash
# run.sh (make recipes): runs the commands of docs/recipes.md that are marked as tried, each in a project of that build system, on a farm of
# this machine alone, and sees that both units were compiled by the builder. Ends with `recipes: N passed, N failed`.
set -eu
. "$(dirname "$0")/../lib.sh"

recipes=$top/docs/recipes.md
passed=0
failed=0

main() {
  local title
  need_to_build
  need jq jq g++ g++ cmake cmake ninja ninja-build meson meson autoreconf autoconf automake automake make make
  cd "$top"
  cargo build --release --locked
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  # Everybody may look in: the farm of root's runs as somebody else.
  chmod 755 "$scratch"
  while read -r title; do
    say "$title"
    if try "$title"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  done < <(sed -n 's/^## \(.*\) (tried)$/\1/p' "$recipes")
  echo "recipes: $passed passed, $failed failed"
  [ "$failed" = 0 ] && [ "$passed" -gt 4 ]
}

# The indented lines of the section, as a user would type them.
commands() { awk -v title="## $1 (tried)" '$0 == title { on = 1; next } /^## / { on = 0 } on && /^    / { print substr($0, 5) }' "$recipes"; }

try() {
  local directory=$scratch/project stats=$scratch/stats.json remote
  rm -rf "$directory" "$stats"
  mkdir "$directory"
  "project_of_$(tr -dc 'a-z' <<<"${1,,}")" "$directory"
  # The names that packages have below /usr.
  commands "$1" | sed "s|/usr/lib/farcc|$scratch/names|" >"$directory/.recipe"
  names
  (
    cd "$directory"
    export PATH="$CARGO_TARGET_DIR/release:$PATH"
    # The command of `try` finds farcc's names first; a user's shell does not.
    farccctl try --slots 2 -- env PATH="$PATH" sh -euc '. ./.recipe; farccctl stats --json >'"$stats" >"$scratch/log" 2>&1
  ) || { cat "$scratch/log"; return 1; }
  remote=$(jq .remote "$stats")
  [ "$remote" -ge 2 ] || { cat "$scratch/log" "$stats"; say "only $remote units were compiled by the builder"; return 1; }
  [ "$(jq '.fallbacks - (.reasons["remote-error"] // 0)' "$stats")" = 0 ] || { cat "$stats"; return 1; }
}

names() {
  local name
  mkdir -p "$scratch/names"
  for name in gcc g++ cc c++; do ln -sf "$CARGO_TARGET_DIR/release/farcc" "$scratch/names/$name"; done
}

sources() {
  echo 'int twice(int n) { return 2 * n; }' >"$1/twice.c"
  printf '%s\n' '#include <vector>' 'extern "C" int twice(int);' 'int main() { return std::vector<int>(1).size() == 1 ? twice(0) : 1; }' >"$1/main.cc"
}

project_of_make() {
  sources "$1"
  printf 'main: main.o twice.o\n\t$(CXX) -o $@ $^\n' >"$1/Makefile"
}

project_of_thenamesinpath() { project_of_make "$1"; }

project_of_autotools() {
  sources "$1"
  printf '%s\n' 'AC_INIT([twice], [1])' 'AM_INIT_AUTOMAKE([foreign])' 'AC_PROG_CC' 'AC_PROG_CXX' 'AC_CONFIG_FILES([Makefile])' AC_OUTPUT >"$1/configure.ac"
  printf '%s\n' 'bin_PROGRAMS = main' 'main_SOURCES = main.cc twice.c' >"$1/Makefile.am"
  (cd "$1" && autoreconf -i >/dev/null 2>&1)
}

project_of_cmake() {
  sources "$1"
  printf '%s\n' 'cmake_minimum_required(VERSION 3.18)' 'project(twice C CXX)' 'add_executable(main main.cc twice.c)' >"$1/CMakeLists.txt"
}

project_of_cmakewithninja() { project_of_cmake "$1"; }

project_of_meson() {
  sources "$1"
  printf '%s\n' "project('twice', 'c', 'cpp')" "executable('main', 'main.cc', 'twice.c')" >"$1/meson.build"
}

main
