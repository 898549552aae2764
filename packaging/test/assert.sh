# Sourced by the test scripts: one line per assertion, and the counts.
# shellcheck shell=bash
passed=0
failed=0

# check TEXT COMMAND…: it succeeds.
check() {
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok      $text"
  else
    failed=$((failed + 1))
    echo "FAILED  $text"
    echo "$output" | tail -n 15 | sed 's/^/          /'
  fi
}

# same TEXT EXPECTED FOUND
same() { check "$1" compare "$2" "$3"; }
compare() {
  [ "$1" = "$2" ] || {
    printf 'expected: %s\nfound:    %s\n' "$1" "$2"
    return 1
  }
}

# has TEXT PART WHOLE: the part, as it stands, is in the whole.
has() { check "$1" contains "$2" "$3"; }
contains() {
  case "$2" in
  *"$1"*) ;;
  *)
    printf 'expected: %s\nin:       %s\n' "$1" "$2"
    return 1
    ;;
  esac
}

# within SECONDS COMMAND…: it succeeds within that time.
within() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || return 1
    sleep 0.3
  done
}

finish() {
  echo "$passed passed, $failed failed"
  [ $failed = 0 ] && [ $passed -gt 0 ]
}
