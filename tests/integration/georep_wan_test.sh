#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Geo-replication over a bad line (tests/support/wan), under verifying load on the primary: slow, stalling, cut in one direction or both,
# reset in the midst of a frame, with kill -9 of either site. In the end both sites are equal.
#   georep_wan_test.sh [--rounds N] [--seed N]
set -euo pipefail
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/torture.sh"
rounds=8 seed=$RANDOM
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --seed) seed=$2; shift 2 ;;
    *) echo "usage: georep_wan_test.sh [--rounds N] [--seed N]" >&2; exit 2 ;;
  esac
done
RANDOM=$seed
echo "seed $seed"
far=${name}w
wan_down() {  # STATUS
  [ -z "${proxy:-}" ] || kill "$proxy" 2> /dev/null || true
  [ "$1" -eq 0 ] || tail -n 5 "$("$cluster" dir "$far" 2> /dev/null)/polderd.log" 2> /dev/null | sed 's/^/  far: /' >&2 || true
  "$cluster" down "$far"
}
fs=btrfs  # XFS keeps some room behind the end of a file that grows, as it likes
volume_up
"$cluster" up "$far" --fs "$fs" --size 8G
trap 'status=$?; set +e; wan_down $status; (exit $status); volume_down' EXIT
"$cluster" exec "$far" -- polder volume create data "$("$cluster" address "$far"):$("$cluster" dir "$far")/brick/data" > /dev/null
"$cluster" exec "$far" -- polder volume start data > /dev/null
for site in "$name" "$far"; do "$cluster" exec "$site" -- polder volume set data changelog.segment-size 1MiB > /dev/null; done
"$cluster" exec "$far" -- polder cluster token --role site --volume data > "$work/token"
secondary=$("$cluster" address "$far")::data
georep() { polder volume geo-replication data "$secondary" "$@"; }
georep create --token-file "$work/token" > /dev/null

# The sites see each other through the proxy only, from here on.
line=$("$cluster" address "$far"):24200
"$cluster" exec "$far" -- "$top/tests/support/wan/wan.py" serve "$line" "$("$cluster" address "$far"):24117" "$work/control" &
proxy=$!
for ((i = 0; i < 100; i++)); do [ -S "$work/control" ] && break; sleep 0.1; done
wan() { "$top/tests/support/wan/wan.py" "$work/control" "$@" > /dev/null; }
georep config addresses "$line" > /dev/null
secondary=$line::data  # its name is where it is
a=$work/a b=$work/b
volume_mount "$a"
volume_mount "$b"
witness one 1 "$a/one" "$b/one"
georep start > /dev/null
witness two 2 "$b/two" "$a/two"

side() { ((RANDOM % 2)) && echo up || echo down; }
restart() { "$cluster" kill "$1" 1; ((RANDOM % 2)) || sleep 1; "$cluster" start "$1" 1; }
faults=(
  'wan delay $((RANDOM % 200)) 50; wan rate $((RANDOM % 1000 + 50))'
  'wan stalls 10 1000 $(side)'
  'wan partition up; wan delay 0'
  'wan partition down; wan piece 100'
  'wan partition; sleep 1'
  'wan reset'
  'wan reset-after $((RANDOM % 3000)) $(side)'
  'wan reset-after $((RANDOM * 20)) up'
  'wan partition $(side); sleep 1; wan reset'
  'restart $name'
  'restart $far'
  'wan partition; restart $far'
  'wan reset-after $((RANDOM * 5)) up; sleep 0.5; restart $name'
)
first=$((RANDOM % ${#faults[@]}))
for ((round = 0; round < rounds; round++)); do
  fault=${faults[((first + round * 5) % ${#faults[@]})]}  # 5 and 13 have no common divisor: each comes round
  ((rounds > 20)) || echo "fault: $fault"
  eval "$fault"
  sleep 1.$((RANDOM % 10))
  ((RANDOM % 3)) && wan heal
  ((RANDOM % 4)) || wan clear
  witnesses_live
done
wan clear
witnesses_stop
echo "the line: $("$top/tests/support/wan/wan.py" "$work/control" status)"
georep checkpoint now > /dev/null
"$cluster" mount "$far" data "$work/far" ro
"$top/tools/dev/compare" "$a" "$work/far"
for site in "$name" "$far"; do "$cluster" exec "$site" -- polder changelog verify data > /dev/null; done
volume_check
echo "georep_wan_test: $rounds faults, all is well"
