#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `peers` as small as it goes: every row has a figure, nothing is left behind, also not by a run that was killed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /var/tmp/polder-peers-test.XXXXXX)
export POLDER_BENCH_DIR=$work
trap 'rm -rf --one-file-system "$work"' EXIT
fail() { echo "peers_test: $*" >&2; exit 1; }
nothing_left() {
  ! compgen -G "$work/polder-bench.*" > /dev/null || fail "left behind: $(ls -d "$work"/polder-bench.*)"
  ! pgrep -f "$work/polder-bench" > /dev/null || fail "processes are left: $(pgrep -af "$work/polder-bench")"
  ! losetup --list --noheadings --output BACK-FILE | grep -q "$work" || fail "loop devices are left"
}

# A run that is killed in the middle leaves everything; the next one takes it down.
"$here/peers" --files 100 --runs 100 --settle 0 --subjects xfs,polder --rows create 2> "$work/killed.log" &
for ((i = 0; i < 200; i++)); do grep -q '^\[.*create' "$work/killed.log" && break; sleep 0.1; done
{ kill -KILL $! && wait $!; } 2> /dev/null || true
losetup --list --noheadings --output BACK-FILE | grep -q "$work" || fail "the run to be killed never mounted anything: $(cat "$work/killed.log")"
sleep 1.5 # it takes down no directory that may be one that is just being made

"$here/peers" --files 100 --runs 1 --settle 0 --subjects xfs,passthrough,polder,polder-tls --json \
  > "$work/figures.json" 2> "$work/log" || fail "it failed: $(cat "$work/log")"
nothing_left
jq -e '.rows | length == 23 and all(.rate.polder > 0 and .rate["polder-tls"] > 0 and .rate.xfs > 0 and .cpu_us.polder > 0)' \
  "$work/figures.json" > /dev/null || fail "figures are missing: $(cat "$work/figures.json")"
jq -e '[.rows[] | select(.ratio.passthrough == null) | .row] | all(. == "random write, direct")' "$work/figures.json" \
  > /dev/null || fail "shares of passthrough are missing: $(cat "$work/figures.json")"
jq -e '.memory[] | select(.subject == "polder") | .measured["daemons idle"] > 1 and .measured["client loaded"] > 1' \
  "$work/figures.json" > /dev/null || fail "memory is missing: $(cat "$work/figures.json")"
jq -e '.sets | length == 4 and all(.rate.sets3 > 0 and .rate.sets24 > 0)' "$work/figures.json" > /dev/null ||
  fail "figures of 3 and 24 sets are missing: $(cat "$work/log")"
