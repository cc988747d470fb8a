#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# polderd is killed, or ended, and started again every second or so, under verifying load through two mounts: what is under way waits,
# happens once, and nothing that was acknowledged is lost.
#   restart_storm_test.sh [--rounds N] [--bricks N]
set -euo pipefail
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/torture.sh"
rounds=6
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --bricks) bricks=$2; shift 2 ;;
    *) echo "usage: restart_storm_test.sh [--rounds N] [--bricks N]" >&2; exit 2 ;;
  esac
done
volume_up
polder volume set data changelog.segment-size 1MiB > /dev/null  # sealed and compressed all the time
a=$work/a b=$work/b
volume_mount "$a"
volume_mount "$b"
witness one 1 "$a/one" "$b/one"
witness two 2 "$b/two" "$a/two"
witness three 3 "$a/three"
for ((round = 1; round <= rounds; round++)); do
  sleep 0.$((RANDOM % 10))
  if ((round % 4 == 3)); then "$cluster" stop "$name" 1; else "$cluster" kill "$name" 1; fi
  ((round % 3)) || sleep 0.5  # away for longer than a client waits between two tries
  "$cluster" start "$name" 1
  witnesses_live
done
witnesses_stop
"$top/tools/dev/compare" "$a" "$b"
volume_check
echo "restart_storm_test: $rounds restarts, all is well"
