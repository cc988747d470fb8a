#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A brick whose file system dies (XFS shutdown) or is read-only: an error that says so, at once; when it is back, all that was
# synced is there, and all goes on.
#   dead_brick_test.sh [--bricks N]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/volume.sh"
[ "${1:-}" != --bricks ] || bricks=$2
size=1G
volume_up
mnt=$work/mnt
mkdir "$mnt"
volume_mount "$mnt"
sums() { (cd "$mnt/d" && find . -type f | LC_ALL=C sort | xargs md5sum); }
refused() {  # COMMAND...
  ! timeout 20 "$@" 2> "$work/error" || fail "$*: works on a dead file system"
  grep -qE 'Input/output error|Read-only file system' "$work/error" || fail "$*: $(cat "$work/error")"
}

"$here/make_project.py" "$mnt/d" 40
sync "$mnt/d"/*/*
sums > "$work/sums"
xfs_io -x -c 'shutdown -f' "$brick_place"
refused mkdir "$mnt/never"
refused touch "$mnt/d/Makefile"
refused rm "$mnt/d/Makefile"
"$cluster" kill "$name" 1
umount "$brick_place"
mount -o loop "$(dirname "$brick_place")/brick.img" "$brick_place"
"$cluster" start "$name" 1
sums | cmp - "$work/sums" || fail "files differ after the file system came back"
mkdir "$mnt/again"

"$cluster" stop "$name" 1
mount -o remount,ro "$brick_place"
"$cluster" start "$name" 1 || fail "the daemon does not start on a read-only brick"
polder volume status data > "$work/status" 2>&1 || true
grep -qi 'read-only' "$work/status" || fail "status says nothing of the read-only brick: $(cat "$work/status")"
"$cluster" stop "$name" 1
mount -o remount,rw "$brick_place"
"$cluster" start "$name" 1
mkdir "$mnt/writable"
sums | cmp - "$work/sums" || fail "files differ after the brick was read-only"
volume_check
echo "dead_brick_test: all is well"
