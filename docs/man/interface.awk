# Turns the introspection of a bus interface (dbus/NAME.xml), in which every member has a comment, into the source of a manual
# page: `awk -v name=NAME -f interface.awk`. Reads the one way in which our own files are written, not XML at large.

function value(key) {
  return match($0, " " key "=\"[^\"]*\"") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 4) : ""
}

function plain(text) {
  gsub(/&lt;/, "<", text)
  gsub(/&gt;/, ">", text)
  gsub(/&quot;/, "\"", text)
  gsub(/&amp;/, "\\&", text)
  return text
}

function section(title) {
  if (title != current) printf "\n# %s\n", title
  current = title
}

# What was read of a member, and nothing twice.
function member() {
  if (head != "") printf "\n**%s**%s\n:   %s\n", head, rest, said == "" ? "See the name." : said
  head = rest = said = ""
}

BEGIN {
  role = tolower(name)
  sub(/^org\.farcc\./, "", role)
  sub(/[0-9]+$/, "", role)
  path = "/" name
  gsub(/\./, "/", path)
  bus = role == "client" ? "session" : "system"
  printf "%% %s(5) farcc | D-Bus Interfaces\n%%\n%%\n\n# NAME\n\n%s - the %s of farcc on the %s bus\n", toupper(name), name, role, bus
  printf "\n# SYNOPSIS\n\n**busctl**%s **introspect** %s %s\n", bus == "session" ? " **\\-\\-user**" : "", name, path
  print "\n# DESCRIPTION\n\nEverybody may read. Methods that change something say for whom they are. Within this version of the interface members are"
  print "added, and none is changed or taken away; what would change one is another interface beside it. Types are D-Bus signatures."
}

/<!--/ { in_comment = 1; comment = ""; next }
/-->/ { in_comment = 0; next }
in_comment {
  line = $0
  sub(/^ +/, "", line)
  comment = comment (comment == "" ? "" : " ") plain(line)
  next
}

/<interface / {
  interface = value("name")
  if (interface != name) { current = ""; section("INTERFACE " interface) }
  comment = ""
}
/<method / { member(); section("METHODS"); head = value("name"); said = comment; comment = inputs = outputs = "" ; kind = "method" }
/<signal / { member(); section("SIGNALS"); head = value("name"); said = comment; comment = inputs = outputs = "" ; kind = "signal" }
/<arg / {
  argument = value("type") (value("name") == "" ? "" : " *" value("name") "*")
  if (kind == "signal" || value("direction") == "in") inputs = inputs (inputs == "" ? "" : ", ") argument
  else outputs = outputs (outputs == "" ? "" : ", ") argument
}
/<\/method>|<\/signal>|<(method|signal) .*\/>/ { rest = "(" inputs ")" (outputs == "" ? "" : " → " outputs); member() }
/<property / {
  member()
  section("PROPERTIES")
  head = value("name")
  rest = " (" value("type") (value("access") == "read" ? "" : ", " value("access")) ")"
  said = comment
  comment = ""
}
/EmitsChangedSignal" value="const"/ { sub(/\)$/, ", constant)", rest) }

END {
  member()
  printf "\n# SEE ALSO\n\n**farcc-%s%s**(8), **busctl**(1), **farccctl**(1)\n", role, "d"
}
