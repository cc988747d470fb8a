#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Quotas of the bricks' own file system (XFS): of a user, and of a project around the brick. The right errno, nothing that was
# acknowledged is lost, deleting works, and nobody else is held up. In a guest kernel, since not every machine's XFS has quotas.
#   quota_test.sh [--bricks N]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ -n "${THIN_VM:-}" ] || exec "$here/../support/vm/thin-vm" --mem 3G --timeout 560 -- "$here/quota_test.sh" "$@"
. "$here/volume.sh"
[ "${1:-}" != --bricks ] || bricks=$2
size=512M
volume_up
mnt=$work/mnt
mkdir "$mnt"
user=54321
step() { echo "== $*"; }
as_user() { setpriv --reuid "$user" --regid "$user" --clear-groups -- "$@"; }
each_brick() { local i; for ((i = 1; i <= bricks; i++)); do "$@" "${brick_place%/}$([ $i -eq 1 ] || echo $i)"; done; }
# TEXT COMMAND...: is refused with it.
refused() {
  local text=$1
  shift
  ! "$@" 2> "$work/error" || fail "$*: is not refused"
  grep -q "$text" "$work/error" || fail "$*: $(cat "$work/error")"
}
# COMMAND...: succeeds, or is refused for the quota.
may_be_refused() { "$@" 2> "$work/error" || grep -qE 'Disk quota exceeded|No space left' "$work/error" || fail "$*: $(cat "$work/error")"; }
with_quotas() { umount "$1" && mount -o loop,uquota,pquota "$1.img" "$1"; }
limit() { xfs_quota -x -c "$1" "$2"; }
project() { xfs_quota -x -c "project -s -p $1/data 7" "$1" > /dev/null; limit "limit -p bhard=$project_limit 7" "$1"; }

"$cluster" stop "$name" 1
each_brick with_quotas
each_brick limit "limit -u bhard=24m $user"
"$cluster" start "$name" 1
volume_mount "$mnt"

step "a user at his limit"
mkdir "$mnt/home" "$mnt/others"
chown "$user:$user" "$mnt/home"
as_user "$here/fill.py" fill "$mnt/home/data" 1000000 100000 5000 > "$work/kept"
[ "$(wc -l < "$work/kept")" -ge 15 ] || fail "full with $(wc -l < "$work/kept") files"
refused 'Disk quota exceeded' as_user dd if=/dev/zero of="$mnt/home/big" bs=1M count=$((40 * bricks)) status=none
refused 'Disk quota exceeded' as_user fallocate -l $((40 * bricks))M "$mnt/home/allocated"
as_user "$here/fill.py" check "$mnt/home/data" < "$work/kept"
step "changes of names at the limit: whatever they find, nobody else is held up"
long=$(printf 'x%.0s' {1..200})
for i in {1..200}; do
  may_be_refused as_user mkdir "$mnt/home/$long-$i"
  may_be_refused as_user ln -s "$long" "$mnt/home/link-$long-$i"
  may_be_refused as_user ln "$mnt/home/data/f1" "$mnt/home/hard-$long-$i"
done
may_be_refused as_user setfattr -n user.big -v "$(head -c 60000 /dev/zero | tr '\0' v)" "$mnt/home/data"
for i in {1..200}; do [ ! -d "$mnt/home/$long-$i" ] || may_be_refused as_user mv "$mnt/home/$long-$i" "$mnt/home/moved-$long-$i"; done
dd if=/dev/zero of="$mnt/others/file" bs=1M count=40 status=none
mkdir "$mnt/others/directory"
as_user "$here/fill.py" check "$mnt/home/data" < "$work/kept"
step "also after a kill -9"
volume_restart
as_user "$here/fill.py" check "$mnt/home/data" < "$work/kept"
touch "$mnt/others/after"
step "deleting makes room"
as_user mv "$mnt/home/data" "$mnt/home/moved"
as_user "$here/fill.py" check "$mnt/home/moved" < "$work/kept"
as_user find "$mnt/home" -mindepth 1 -delete
as_user dd if=/dev/zero of="$mnt/home/room" bs=1M count=10 status=none || fail "no room after everything was deleted"
rm -r "$mnt/home" "$mnt/others"
volume_check

step "a project around the brick: the volume is as large as its limit"
project_limit=200m
each_brick project
"$cluster" kill "$name" 1
"$cluster" start "$name" 1
total=$(df --output=size -BM "$mnt" | tail -n 1 | tr -dc 0-9)
[ "$total" -le $((200 * bricks)) ] || fail "df says $total MiB"
"$here/fill.py" fill "$mnt/data" 8000000 1000000 100000 > "$work/kept"
used_mib=$(awk '{ sum += $2 } END { print int(sum / 1048576) }' "$work/kept")
[ "$used_mib" -ge $((100 * bricks)) ] || fail "full with $used_mib MiB of files"
refused 'No space left on device\|Disk quota exceeded' dd if=/dev/zero of="$mnt/more" bs=1M count=$((40 * bricks)) status=none
"$here/fill.py" check "$mnt/data" < "$work/kept"
volume_restart
"$here/fill.py" check "$mnt/data" < "$work/kept"
mv "$mnt/data" "$mnt/moved"
rm -r "$mnt/moved"
rm -f "$mnt/more"
sleep 6  # the reserve is whole again
dd if=/dev/zero of="$mnt/room" bs=1M count=50 status=none || fail "no room after everything was deleted: $(df -h "$mnt")"
volume_check
echo "quota_test: all is well"
