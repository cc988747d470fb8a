#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kill -9 of mount.polder under verifying load, now and then with polderd at the same moment. What was acknowledged is there, and a call
# that was cut off has happened or not; the dead mount says ENOTCONN and can be unmounted and mounted again; its locks go to who waits for
# them on another mount, its open files without names give their room back, its leases hold nobody up.
#   client_kill_test.sh [--rounds N] [--bricks N]
set -euo pipefail
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/torture.sh"
rounds=2
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --bricks) bricks=$2; shift 2 ;;
    *) echo "usage: client_kill_test.sh [--rounds N] [--bricks N]" >&2; exit 2 ;;
  esac
done
volume_up
polder volume set data network.session-timeout 5s > /dev/null  # how long a client that is gone keeps its locks
a=$work/a b=$work/b
volume_mount "$a"
volume_mount "$b"
mkdir "$b/held"
mkfifo "$work/input"
exec 7<> "$work/input"  # what the holder waits for

# What a dead client had in its hands.
hold() {
  rm -f "$work/holds" "$work/wants"
  "$here/holder.py" hold "$a/held" "$work/holds" <&7 > /dev/null &
  holder=$!
  wait_until "somebody holds" [ -e "$work/holds" ]
  "$here/holder.py" want "$b/held" "$work/wants" &
  wanter=$!
  wait_until "somebody wants" [ -e "$work/wants" ]
}
has_ended() { ! ps -o stat= -p "$1" | grep -qv '^Z'; }  # and so its files are closed, the mount's among them
large_files() { find "$brick_place"*/data/.polder/gfid -size +32M 2> /dev/null | wc -l; }
is_reclaimed() { [ "$(large_files)" -eq 0 ]; }

witness killed 1 "$a/one" "$b/one" --breaks
witness too 2 "$a/two" --breaks
witness other 3 "$b/three"
for ((round = 1; round <= rounds; round++)); do
  hold
  [ "$(large_files)" -eq 1 ] || fail "the brick does not have the file without a name"
  sleep 0.$((RANDOM % 10))
  kill -0 $wanter || fail "a lock was given to two"
  pid=$(mount_pid "$a")
  if ((round % 2 == 0)); then
    kill -9 "$pid" "$(cat "$("$cluster" dir "$name")/pid")"
    "$cluster" kill "$name" 1
    "$cluster" start "$name" 1
  else
    kill -9 "$pid"
  fi
  wait_until "the end of mount.polder" has_ended "$pid"
  ! stat "$a/held" 2> "$work/error" > /dev/null || fail "the mount lives on without its daemon"
  grep -q "Transport endpoint is not connected" "$work/error" || fail "a dead mount says: $(cat "$work/error")"
  # Names that the dead client has leases on.
  mv "$b/held/whole" "$b/held/other"
  mv "$b/held/other" "$b/held/whole"
  { kill $holder && wait $holder; } 2> /dev/null || true  # a mount with open files is busy, dead or not
  wait_until "umount of the dead mount" umount -q "$a"
  volume_mount "$a"
  wait $wanter || fail "the locks of the dead client were not given on"
  wait_until "the open file without a name goes with its client" is_reclaimed
  witnesses_live
done
sleep 1
witnesses_stop
"$top/tools/dev/compare" "$a" "$b"
volume_check
echo "client_kill_test: $rounds mounts killed, all is well"
