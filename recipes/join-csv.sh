#!/bin/sh
# Joins CSV files that begin with the same header: join-csv.sh INPUT... > OUTPUT
#
# The header is kept once. A last line without its line end gets one. Fields may hold line ends, the header may not.
# Ends with 1 if a header differs, or if a file is empty.
exec awk '
  FNR == 1 {
    files++
    if (NR == 1) header = $0
    else if ($0 == header) next
    else { print "join-csv.sh: " FILENAME " has another header: " $0 > "/dev/stderr"; failed = 1; exit 1 }
  }
  { print }
  END {
    if (!failed && files != ARGC - 1) { print "join-csv.sh: an input is empty" > "/dev/stderr"; exit 1 }
  }' "$@"
