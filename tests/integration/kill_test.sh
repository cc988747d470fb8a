#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kill -9 of each daemon at each named crash point, under load, many times; then both sites and an ordinary directory that had
# the same operations are compared.
#   kill_test.sh [--rounds N] [--points REGEX] [--sites PREFIX]
# Of several at once each has sites of its own (PREFIX, k unless told).
# Every crash point must have fired so many times; rounds in which the load did not get there are repeated.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
cluster=$top/tools/dev/cluster
rounds=20 filter='^(changelog|store|ordering|georep)/' sites=k
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --points) filter=$2; shift 2 ;;
    --sites) sites=$2; shift 2 ;;
    *) echo "usage: kill_test.sh [--rounds N] [--points REGEX] [--sites PREFIX]" >&2; exit 2 ;;
  esac
done
east=${sites}east west=${sites}west
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-kill.XXXXXX")
fail() { echo "FAILED: $*" >&2; exit 1; }
cleanup() {
  local status=$?
  trap - EXIT
  jobs -p | xargs -r kill 2> /dev/null || true
  if [ $status -ne 0 ]; then
    for site in east west; do tail -n 20 "$("$cluster" dir $sites$site)/polderd.log" | sed "s/^/  $site: /" >&2; done
  fi
  "$cluster" down $east
  "$cluster" down $west
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT

compare_with_mirror() {
  sleep 1.1
  rsync -rlHpgoDXni --checksum --delete "$work/mirror/" "$work/mount/load/" > "$work/differences"
  [ ! -s "$work/differences" ] || { head "$work/differences"; fail "the volume differs from the mirror"; }
}

# Points that fire on the secondary; all others are proved on the primary.
secondary_point() { [[ $1 == georep/* ]]; }
# Points of the log's upkeep, which comes round every few seconds.
upkeep_point() { [[ $1 == changelog/*seal || $1 == changelog/*compress* || $1 == changelog/retention* ]]; }

"$cluster" down $east
"$cluster" down $west
for site in $east $west; do
  "$cluster" up $site --fs btrfs --size 2G
  "$cluster" exec $site -- polder volume create data "$("$cluster" address $site):$("$cluster" dir $site)/brick/data" > /dev/null
  # Small segments, so that sealing, compressing and retention happen all the time.
  "$cluster" exec $site -- polder volume set data changelog.segment-size 1MiB > /dev/null
  "$cluster" exec $site -- polder volume start data > /dev/null
done
"$cluster" exec $west -- polder cluster token --role site --volume data > "$work/token"
secondary=$("$cluster" address $west)::data
georep() { "$cluster" exec $east -- polder volume geo-replication data "$secondary" "$@"; }
georep create --token-file "$work/token" > /dev/null
georep start > /dev/null
"$cluster" mount $east data "$work/mount"
mkdir "$work/mount/load" "$work/mirror"

seed=1
mapfile -t points < <(git -C "$top" grep -ohE 'crash_point\("[^"]+"\)' -- 'changelog/*.cc' 'core-volume/*.cc' 'georep/*.cc' ':!*_test.cc' |
  sed 's/.*"\(.*\)".*/\1/' | sort -u | grep -E "$filter")
[ ${#points[@]} -gt 0 ] || fail "no crash points match $filter"
for point in "${points[@]}"; do
  rm -rf "$work"/{mount/load,mirror}/*  # 10 MiB a round: all points together would fill the brick
  site=$east patience=60
  most=40  # the daemon dies at the first passage, later at any of so many
  secondary_point "$point" && site=$west patience=80  # the primary has to connect again first
  upkeep_point "$point" && patience=400 most=2
  pid_file=$("$cluster" dir $site)/pid
  fired=0 span=1
  for ((round = 1; fired < rounds && round <= 3 * rounds; round++)); do
    "$cluster" kill $site 1
    passage=$((1 + (seed * 7) % span))
    POLDER_CRASH_POINT=$point:$passage "$cluster" start $site 1 2> /dev/null || true  # it may die while it starts
    rm -f "$work/stop"
    "$here/load.py" "$work/mount/load" "$work/mirror" 60 $seed "$work/stop" > "$work/count" 2> "$work/error" &
    load=$!
    for ((i = 0; i < patience; i++)); do kill -0 "$(cat "$pid_file")" 2> /dev/null || break; sleep 0.1; done
    if ! kill -0 "$(cat "$pid_file")" 2> /dev/null; then
      fired=$((fired + 1)) span=$((fired < 3 ? 1 : most))
    else
      span=$((1 + span / 3))
    fi
    touch "$work/stop"
    "$cluster" kill $site 1
    "$cluster" start $site 1 || fail "$site does not start after $point"
    wait $load || fail "$point, round $round: $(cat "$work/error")"
    seed=$((seed + 1))
  done
  echo "$point: killed $fired times in $((round - 1)) rounds"
  [ $fired -eq $rounds ] || fail "$point was not reached often enough"
  compare_with_mirror
done

"$cluster" mount $west data "$work/west" ro
georep checkpoint now > /dev/null
"$top/tools/dev/compare" "$work/mount" "$work/west" || fail "the sites differ"
umount "$work/mount"
"$cluster" exec $east -- polder changelog verify data
"$cluster" exec $west -- polder changelog verify data
echo "1 passed, 0 failed"
