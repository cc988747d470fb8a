#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The wall clock of one process, first polderd's, then a mount's, goes forth and back by hours (libfaketime; the machine's own stays as it
# is) under verifying load through another mount. Caches, locks and restarts go on, what was changed later has a later ctime, and
# geo-replication goes on where the sites' clocks agree again.
#   clock_test.sh [--rounds N]
set -euo pipefail
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/torture.sh"
rounds=1
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    *) echo "usage: clock_test.sh [--rounds N]" >&2; exit 2 ;;
  esac
done
library=$(ls /usr/lib/*/faketime/libfaketime.so.1) || fail "libfaketime is missing: tools/dev/setup"
far=${name}w
fs=btrfs
volume_up
"$cluster" up "$far" --fs "$fs"
trap 'status=$?; set +e; "$cluster" down "$far"; (exit $status); volume_down' EXIT
step() { echo "== $*"; }
# Each process with a clock of its own reads how much it is off from a file, each time it looks.
clock() { echo "$2" > "$work/$1.new"; mv "$work/$1.new" "$work/$1"; }
faked() {  # CLOCK COMMAND...
  local file=$work/$1
  shift
  env LD_PRELOAD="$library" FAKETIME_TIMESTAMP_FILE="$file" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 "$@"
}
ctime() { stat -c %.Z "$1"; }
# Changes that follow one another have ctimes that do, whatever the clock says.
last=0
later() {
  touch "$b/order"
  local now
  now=$(ctime "$b/order")
  [ "$(printf '%s\n' "$last" "$now" | sort -n | tail -n 1)" = "$now" ] && [ "$now" != "$last" ] || fail "ctime went from $last to $now"
  last=$now
}
restart() { "$cluster" kill "$name" 1; faked server "$cluster" start "$name" 1; }
jump() {  # CLOCK OFFSET
  step "$1: $2"
  clock "$1" "$2"
  sleep 0.5
  later
  witnesses_live
}

clock server +0
clock client +0
restart
a=$work/a b=$work/b
volume_mount "$b"
faked client "$cluster" mount "$name" data "$a"
mkdir "$b/t"

mkfifo "$work/input"
exec 7<> "$work/input"
step "geo-replication while the primary's clock jumps"
"$cluster" exec "$far" -- polder volume create data "$("$cluster" address "$far"):$("$cluster" dir "$far")/brick/data" > /dev/null
"$cluster" exec "$far" -- polder volume start data > /dev/null
"$cluster" exec "$far" -- polder cluster token --role site --volume data > "$work/token"
secondary=$("$cluster" address "$far")::data
georep() { polder volume geo-replication data "$secondary" "$@"; }
georep create --token-file "$work/token" > /dev/null
georep start > /dev/null
witness one 1 "$a/one" "$b/one"
witness two 2 "$b/two" "$a/two"
for ((round = 1; round <= rounds; round++)); do
  python3 -c "import sys; f = open('$b/grows$round', 'wb', 0); f.write(bytes(1 << 20)); input()" <&7 &
  grower=$!
  wait_until "a file grows" [ -s "$b/grows$round" ]
  for offset in -3h +0 +200s -10d; do jump server "$offset"; done
  step "a file that stays open holds nothing back when it seems to be made in the future"
  georep checkpoint now > /dev/null
  kill $grower
  jump server +0
  restart
  jump client +3h
  jump client -3h
  jump client +0
done
witnesses_stop
georep checkpoint now > /dev/null
"$cluster" mount "$far" data "$work/far" ro
"$top/tools/dev/compare" "$b" "$work/far"
georep stop > /dev/null
umount "$work/far"

step "clocks that are hours ahead"
witness one 3 "$a/three" "$b/three"
witness two 4 "$b/four" "$a/four"
for ((round = 1; round <= rounds; round++)); do
  jump client -3h
  jump server +3h
  [ "$(stat -c %Z "$b/order")" -gt $(($(date +%s) + 3600)) ] || fail "the daemon's clock is not faked"
  restart
  jump server +0
  jump client +5h
  restart  # its log is three hours ahead of it
  jump server -1d
  restart
  pid=$(mount_pid "$a")
  step "caches and locks"
  "$here/stale.py" "$a/stale" "$b/stale" "kill -STOP $pid" "kill -CONT $pid"
  POSIX_SECONDS=2 "$here/posix/run" "$a/t" "$b/t" locks_tests 2>&1 | tail -n 3
  jump server +0
  jump client +0
done
witnesses_stop
umount "$a"
volume_mount "$a"  # with the right time, of a volume that is hours ahead
"$top/tools/dev/compare" "$a" "$b"
volume_check
echo "clock_test: $rounds rounds, all is well"
