# shellcheck shell=bash disable=SC2154
# What run.sh does with the records of its builds. Sourced, never run: expects `work`, the directory of the package's rounds,
# with `name`, `CC` and `claim` of its row.
#
# A command is known by its working directory and its words, and what came of it is one line: command, status and the digests of
# standard error, object and dependency file. So rounds are compared as sorted lists of lines, whatever order a parallel build has.

# What build systems draw at random, in file names, dependency files and messages.
RANDOM_NAMES='s/\.tmp_[0-9]+/.tmp_N/g; s/TryCompile-[A-Za-z0-9]{6}/TryCompile-N/g; s/cmTC_[0-9a-f]{5}/cmTC_N/g; s#/tmp/(cc|tmp\.)[A-Za-z0-9]{6,10}#/tmp/\1N#g'
# The files have the rest.
LINES_SHOWN=12
COLUMNS_SHOWN=240

# A unit is a command that has left an object. A probe is one whose object is gone when the build is over: configure scripts and
# kernels ask compilers so what they can do.
PROBE=probe:

# index DIRECTORY: writes a line for each record of a round, NAME DECISION COMMAND STATUS STDERR OBJECT DEPFILE, to DIRECTORY/index,
# and without the first two, sorted, to DIRECTORY/outcomes.
index() {
  local record words command sum path mode probe
  local -A digests=()
  find "$1/records" \( -name stderr -o -name depfile \) -size +0 -exec sed -E -i "$RANDOM_NAMES" {} +
  while read -r sum path; do digests[$path]=$sum; done < <(find "$1/records" -type f ! -name command -exec sha256sum {} +)
  while read -r mode path; do digests[$path]+=:$mode; done < <(find "$1/records" \( -name object -o -name depfile \) -printf '%m %p\n')
  for record in "$1/records"/*; do
    [ -e "$record/command" ] || continue
    mapfile -d '' words <"$record/command"
    printf -v command '%q ' "${words[@]}"
    probe=$PROBE
    if [ -e "$record/output" ]; then probe=''; fi
    printf '%s\t' "${record##*/}" "$(decision "$record")" "$command" "$(<"$record/status")" "${digests[$record/stderr]}"
    printf '%s%s\t%s\n' "$probe" "${digests[$record/object]-}" "${digests[$record/depfile]-none}"
  done | sed -E "$RANDOM_NAMES" >"$1/index"
  cut -f 3- "$1/index" | LC_ALL=C sort >"$1/outcomes"
}

# Where farcc says it let the command of a record run: `remote`, or the name of a reason.
decision() {
  local said=''
  if [ -e "$1/decision" ]; then said=$(tail -n 1 "$1/decision"); fi
  if [[ $said =~ :\ (remote)\ on\ |:\ local:\ ([^:]+)|:\ stepping\ aside:\ ([^:]+) ]]; then
    echo "${BASH_REMATCH[1]}${BASH_REMATCH[2]}${BASH_REMATCH[3]}"
  else
    echo unsaid
  fi
}

# compare PLAIN PLAIN FARCC: what the plain rounds agree on is looked for in the other, and goes to `same` or `differing` there.
# What they disagree on goes to `random`, the units among it to `random.units`, RECORD COMMAND.
compare() {
  local to=$work/$3
  local -x LC_ALL=C
  comm -12 "$work/$1/outcomes" "$work/$2/outcomes" >"$to/agreed"
  comm -23 "$work/$1/outcomes" "$work/$2/outcomes" >"$to/random"
  comm -12 "$to/agreed" "$to/outcomes" >"$to/same"
  comm -23 "$to/agreed" "$to/outcomes" >"$to/differing"
  awk -F '\t' -v probe="^$PROBE" -v records="$work/$1/records" 'NR == FNR { random[$0]; next }
    $6 ~ probe { next }
    { record = $1; command = $3; sub(/^[^\t]*\t[^\t]*\t/, "") }
    $0 in random { print records "/" record "\t" command }' "$to/random" "$work/$1/index" >"$to/random.units"
}

# How many of the outcomes in some files are of units.
units() { cat "$@" 2>/dev/null | awk -F '\t' -v probe="^$PROBE" '$4 !~ probe' | wc -l; }

# Every file, directory and link with its mode, and every file's digest; the path is the first field.
list_files() {
  {
    find . -printf '%p\t%y %m %l\n'
    find . -type f -exec sha256sum {} + | sed -E 's/^([^ ]+)  (.*)$/\2\t\1/'
  } | LC_ALL=C sort
}

# Lines about files that the plain builds agree on and the one with farcc does not, and about files that only that one has.
differing_files() {
  local -x LC_ALL=C
  local plain1=$work/plain1/files plain2=$work/plain2/files farcc=$work/farcc/files
  comm -23 <(comm -12 "$plain1" "$plain2") "$farcc"
  comm -13 <(cat "$plain1" "$plain2" | cut -f 1 | sort -u) <(cut -f 1 "$farcc" | sort -u) | sed 's/$/\tonly with farcc/'
}

# verdict SECONDS: writes the row of the table and the file of differences; fails if there is anything wrong.
verdict() {
  local n same remote reasons again open wrong=()
  n=$(units "$work/plain1/outcomes")
  same=$(units "$work/farcc/same" "$work/again-farcc/same")
  again=$(units "$work/farcc/random")
  open=$((n - same - $(units "$work/farcc/differing" "$work/again-farcc/differing")))
  remote=$(awk -F '\t' -v probe="^$PROBE" '$2 == "remote" && $6 !~ probe' "$work/farcc/index" | wc -l)
  local_units >"$work/local"
  reasons=$(cut -f 1 "$work/local" | sort | uniq -c | awk '{ printf "%s%s %s", sep, $1, $2; sep = ", " }')
  differences >"$work/differences"
  [ "$n" -gt 0 ] || wrong+=("no units")
  [ ! -s "$work/differences" ] || wrong+=("differs")
  [ "$claim" != all-remote ] || [ "$remote" = "$n" ] || wrong+=("not all remote")
  table_row "$n" "$remote" "$same" "$again" "$open" "$(wc -l <"$work/plain1/index")" "$1" "${reasons:--}" "$(joined "${wrong[@]:-ok}")"
  show "all that differs" "$work/differences"
  show "every unit that stayed here" "$work/local"
  show "every unit that two plain builds disagree on" "$work/farcc/random.units"
  [ ${#wrong[@]} = 0 ]
}

# Units that farcc did not send away: REASON, WORDS with the detail, COMMAND.
local_units() {
  local record reason command
  while IFS=$'\t' read -r record reason command; do
    printf '%s\t%s\t%s\n' "$reason" "$(tail -n 1 "$work/farcc/records/$record/decision" 2>/dev/null || true)" "$command"
  done < <(awk -F '\t' -v OFS='\t' -v probe="^$PROBE" '$2 != "remote" && $6 !~ probe { print $1, $2, $3 }' "$work/farcc/index")
}

show() {
  [ -s "$2" ] || return 0
  head -n "$LINES_SHOWN" "$2" | cut -c 1-"$COLUMNS_SHOWN"
  say "$1: $2"
}

joined() {
  local rest
  printf %s "$1"
  shift
  for rest; do printf ", %s" "$rest"; done
}

differences() {
  local plain farcc
  plain=$(wc -l <"$work/plain1/index")
  farcc=$(wc -l <"$work/farcc/index")
  # Where the number of commands is left to chance, it proves nothing.
  if [ "$plain" = "$(wc -l <"$work/plain2/index")" ] && [ "$plain" != "$farcc" ]; then
    echo "commands: $plain plainly, $farcc with farcc"
  fi
  differing_commands plain1 farcc
  if [ -d "$work/again-farcc" ]; then differing_commands again-plain1 again-farcc; fi
  differing_files
}

# What differs of each differing command, with the records of both sides.
differing_commands() {
  local command plain farcc part parts
  while IFS=$'\t' read -r command _; do
    plain=$(record_of "$1" "$command")
    farcc=$(record_of "$2" "$command")
    parts=()
    for part in status stderr object depfile; do
      [ ! -e "$plain/$part" ] && [ ! -e "$farcc/$part" ] || cmp -s "$plain/$part" "$farcc/$part" || parts+=("$part")
    done
    printf '%s: %s\n  plain: %s\n  farcc: %s\n' "${parts[*]:-mode}" "$command" "$plain" "${farcc:-no such command}"
  done <"$work/$2/differing"
}

record_of() {
  KEY=$2 awk -F '\t' -v records="$work/$1/records" '$3 == ENVIRON["KEY"] { print records "/" $1; exit }' "$work/$1/index"
}

table_head() { printf 'PACKAGE\tCOMPILER\tUNITS\tREMOTE\tIDENTICAL\tAGAIN\tOPEN\tCOMMANDS\tSECONDS\tLOCAL BY REASON\tRESULT\n'; }

# table_row UNITS REMOTE IDENTICAL AGAIN OPEN COMMANDS SECONDS REASONS RESULT, or the result alone.
table_row() {
  if [ $# = 1 ]; then set -- - - - - - - - - "$1"; fi
  {
    printf '%s\t' "$name" "$CC" "${@:1:$#-1}"
    echo "${!#}"
  } >"$work/row"
}
