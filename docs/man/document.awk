# Turns a document (docs/NAME.md) into the source of a manual page of its own: `awk -v name=farcc-NAME -f document.awk`.
# The document's title becomes the page's NAME, and its chapters the page's sections.

BEGIN {
  about["farcc-protocol"] = "what the programs of farcc say to each other"
  about["farcc-reasons"] = "why a unit was compiled where it was"
  if (!(name in about)) { print "document.awk: " name " needs a line that says what it is about" >"/dev/stderr"; exit 1 }
  printf "%% %s(7) farcc | Miscellaneous\n%%\n%%\n\n# NAME\n\n%s - %s\n\n# DESCRIPTION\n", toupper(name), name, about[name]
}

/^# / { next }
/^## / { print "#", toupper(substr($0, 4)); next }
/^###/ { print substr($0, 2); next }
{ print }

END { print "\n# SEE ALSO\n\n**farcc**(1), **farccctl**(1), **farcc-clientd**(8), **farcc-schedulerd**(8), **farcc-builderd**(8)" }
