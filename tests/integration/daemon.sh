# SPDX-License-Identifier: GPL-3.0-or-later
# For tests that run one polderd by themselves, without tools/dev/cluster: source it. Everything ends at exit.
#   work: a scratch directory, with the daemon's state, its log (polderd.log) and the last command's output (out)
#   into: how to enter the network of the test, as an array; empty: it runs in this one
#   end_before, end_after: functions for what the test itself must end before and after the mount $work/mnt and the daemon
bin=$(realpath "${POLDER_BIN:-$(dirname "${BASH_SOURCE[0]}")/../../build/dev/bin}")
test_name=$(basename "$0" .sh)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-$test_name.XXXXXX")
export POLDER_SOCKET=$work/run/admin.sock
daemon=
into=()

end_before() { :; }
end_after() { :; }
end_test() {
  local status=$?
  trap - EXIT
  end_before
  mountpoint -q "$work/mnt" && umount -l "$work/mnt" || true
  [ -n "$daemon" ] && kill -9 "$daemon" 2> /dev/null && wait "$daemon" 2> /dev/null || true
  end_after
  if [ $status -ne 0 ]; then tail -n 30 "$work"/*.log 2> /dev/null | sed 's/^/  log: /' >&2 || true; fi
  rm -rf --one-file-system "$work"
  exit $status
}
trap end_test EXIT
fail() { echo "$test_name: $*" >&2; exit 1; }
inside() { "${into[@]}" "$@"; }
polder() { inside timeout 60 "$bin/polder" "$@"; }
# STATUS TEXT COMMAND...: the command's exit status, and a text in what it prints.
expect() {
  local wanted=$1 text=$2 got=0
  shift 2
  "$@" > "$work/out" 2>&1 < /dev/null || got=$?
  [ $got -eq "$wanted" ] || fail "$*: status $got instead of $wanted: $(cat "$work/out")"
  grep -qF -- "$text" "$work/out" || fail "$*: '$text' is not in: $(cat "$work/out")"
}
start_daemon() {  # ARGUMENTS...
  "${into[@]}" "$bin/polderd" --cluster test --state-dir "$work/state" --run-dir "$work/run" "$@" >> "$work/polderd.log" 2>&1 5>&- &
  daemon=$!
  for _ in $(seq 300); do
    polder cluster status > /dev/null 2>&1 && return
    [ $? -eq 3 ] && return  # it answers: degraded
    kill -0 "$daemon" 2> /dev/null || fail "polderd ended at once"
    sleep 0.05
  done
  fail "polderd does not answer"
}
end_daemon() {  # SIGNAL; `ended` is its exit status
  kill "-$1" "$daemon"
  wait "$daemon" 2> /dev/null && ended=0 || ended=$?
  daemon=
}
