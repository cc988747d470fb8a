#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A brick whose file system is full: the right errno, nothing acknowledged is lost, deleting makes room again, and afterwards all
# goes on by itself.
#   full_test.sh [--bricks N]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/volume.sh"
. "$here/torture.sh"
[ "${1:-}" != --bricks ] || bricks=$2
size=320M
volume_up
mkdir "$work/mnt" "$work/spare"
volume_mount "$work/mnt"
mnt=$work/mnt
log=$(dirname "$brick_place")/polderd.log

step() { echo "== $*"; }
# COMMAND... PATH: ends with ENOSPC. Some may still find room: XFS gives back what it held for others, the log is compressed.
expect_enospc() {
  for ((i = 0; i < 20000; i++)); do
    if ! "$@.$i" 2> "$work/error"; then
      grep -q 'No space left on device' "$work/error" || fail "$*: $(cat "$work/error")"
      return 0
    fi
  done
  fail "$*: there is room after all"
}

step "fill it with large files, then with small ones, then with names only"
"$here/fill.py" fill "$mnt/data" > "$work/kept"
df -h "$mnt" | tail -n 1
used_mib=$(awk '{ sum += $2 } END { print int(sum / 1048576) }' "$work/kept")
[ "$used_mib" -ge 150 ] || fail "full with $used_mib MiB of files on a file system of $size"
expect_enospc dd if=/dev/zero bs=1M count=4 status=none of="$mnt/one-more"
expect_enospc fallocate -l 64M "$mnt/allocated"
expect_enospc mkdir "$mnt/dir"
expect_enospc touch "$mnt/touched"
expect_enospc ln -s x "$mnt/link"
expect_enospc cp --attributes-only "$mnt/data/f1" "$mnt/copied"
! setfattr -n user.big -v "$(head -c 60000 /dev/zero | tr '\0' v)" "$mnt/data" 2> "$work/error" || fail "an attribute of 60 KB"
grep -q 'No space left on device' "$work/error" || fail "setfattr: $(cat "$work/error")"
step "what was acknowledged is there"
"$here/fill.py" check "$mnt/data" < "$work/kept"
step "also after a kill -9 and start on the full file system"
volume_restart
"$here/fill.py" check "$mnt/data" < "$work/kept"
step "renames and removals work without room; then there is room"
mv "$mnt/data" "$mnt/moved"
chmod 700 "$mnt/moved"
rm -rf "$mnt"/{one-more,allocated,dir,touched,link,copied}.*
"$here/fill.py" check "$mnt/moved" < "$work/kept"
rm -r "$mnt/moved"
sleep 6  # unlinked files are gone, the reserve is whole again
dd if=/dev/zero of="$mnt/room" bs=1M count=100 status=none || fail "no room after everything was deleted: $(df -h "$mnt")"
rm "$mnt/room"
polder changelog verify data > /dev/null

step "somebody else fills the brick file system to the last block, under writers"
witness full 1 "$mnt/witness" --full
"$here/fill.py" churn "$mnt/churn" 12 > "$work/churned" 2> "$work/churn-error" &
churn=$!
for round in 1 2; do
  sleep 1
  dd if=/dev/zero of="$brick_place/hog" bs=64k status=none 2> /dev/null || true
  dd if=/dev/zero of="$brick_place/hog2" bs=512 status=none 2> /dev/null || true
  sleep 2
  rm -f "$brick_place/hog" "$brick_place/hog2"
  sleep 1
done
wait $churn || fail "a writer on a full volume: $(cat "$work/churn-error")"
witnesses_stop
sleep 6
touch "$mnt/churn/afterwards" || fail "the brick does not heal by itself"
"$here/fill.py" check "$mnt/churn" < "$work/churned"
volume_restart
"$here/fill.py" check "$mnt/churn" < "$work/churned"
polder changelog verify data > /dev/null

! grep -E 'assert|EUCLEAN' "$log" || fail "the daemon complains"
echo "full_test: all is well"
