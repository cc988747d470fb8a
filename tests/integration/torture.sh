# SPDX-License-Identifier: GPL-3.0-or-later
# For tests that break things under verifying load: source it after volume.sh.
#   witness NAME SEED DIR [OTHER...] [OPTION...]  starts witness.py in the background
#   witnesses_stop                                ends all of them; what they found wrong is the test's failure
#   witnesses_live                                fails if one has ended by itself
#   wait_until WHAT COMMAND...                    for a minute at most
#   mount_pid DIR                                 the mount.polder that serves DIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
declare -A witnesses=()
witness() {
  local who=$1 seed=$2
  shift 2
  rm -f "$work/stop"
  "$here/witness.py" "$seed" "$work/stop" "$@" > "$work/witness-$who.out" 2> "$work/witness-$who.err" &
  witnesses[$who]=$!
}
witnesses_live() {
  local who
  for who in "${!witnesses[@]}"; do
    kill -0 "${witnesses[$who]}" 2> /dev/null || fail "witness $who has ended: $(cat "$work/witness-$who.err")"
  done
}
witnesses_stop() {
  local who
  touch "$work/stop"
  for who in "${!witnesses[@]}"; do
    wait "${witnesses[$who]}" || fail "witness $who: $(cat "$work/witness-$who.err")"
    tail -n 1 "$work/witness-$who.out"
  done
  witnesses=()
}
mount_pid() { pgrep -o -f "^mount.polder .* $1 " || fail "nothing serves $1"; }
wait_until() {
  local what=$1 i
  shift
  for ((i = 0; i < 600; i++)); do "$@" && return; sleep 0.1; done
  fail "$what: not within a minute"
}
