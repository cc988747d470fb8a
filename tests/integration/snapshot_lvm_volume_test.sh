#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Snapshots of a mounted volume whose brick is XFS on an LVM thin volume, in a guest kernel that has them: what a snapshot
# holds, kill -9 in the middle of creation and of each step of a restore, and a daemon that finds its mounts again.
#   POLDER_BIN: directory of polderd, polder, mount.polder
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export POLDER_BIN=${POLDER_BIN:-$(cd "$here/../.." && pwd)/build/dev/bin}
[ -n "${THIN_VM:-}" ] || exec "$here/../support/vm/thin-vm" --mem 2G --disk 3G --timeout 580 -- "$here/$(basename "$0")"

work=$(mktemp -d /var/tmp/polder-lvm-volume.XXXXXX)
export PATH=$POLDER_BIN:$PATH POLDER_SOCKET=$work/run/admin.sock
daemon=
fail() {
  echo "snapshot_lvm_volume_test: $*" >&2
  grep -v 'refused uid' "$work/log" | tail -n 30 >&2
  lvs -a >&2
  grep "$work" /proc/mounts >&2
  exit 1
}
start() {  # [CRASH-POINT]
  POLDER_CRASH_POINT=${1:-} setsid polderd --cluster lvm --state-dir "$work/state" --run-dir "$work/run" --foreground \
    >> "$work/log" 2>&1 < /dev/null &
  daemon=$!
  for _ in $(seq 300); do
    polder cluster status > /dev/null 2>&1 && return
    [ -S "$work/run/admin.sock" ] && [ "${clustered:-no}" = no ] && return
    kill -0 $daemon 2> /dev/null || { wait $daemon || true; return; }  # killed at its start: the caller knows
    sleep 0.1
  done
  fail "polderd does not answer"
}
stop() { kill "$1" $daemon; wait $daemon 2> /dev/null || true; }
die_at() {  # CRASH-POINT COMMAND...
  local point=$1
  shift
  stop -TERM
  start "$point"
  if "$@" > "$work/out" 2>&1; then fail "$point: the daemon was not killed there"; fi
  wait $daemon 2> /dev/null && fail "$point: $(cat "$work/out")"
  start
}
on_disk() { lvs --noheadings -o lv_name vgtest | tr -d ' ' | grep '^polder-brick-' | sed 's/^polder-brick-//' | sort; }
listed() { polder snapshot list --json | python3 -c 'import json,sys; print("\n".join(sorted(s["id"] for s in json.load(sys.stdin))))'; }
consistent() {
  [ "$(on_disk)" = "$(listed)" ] || fail "$1: on disk: $(on_disk | xargs); listed: $(listed | xargs)"
  ! lvs --noheadings -o lv_name vgtest | grep -q restore || fail "$1: the copy for the restore is left"
}
content() { # WHAT: waits until the mounted volume has it
  for _ in $(seq 100); do [ "$(cat "$work/mnt/file" 2> /dev/null)" = "$1" ] && return; sleep 0.1; done
  fail "$2: the file says '$(cat "$work/mnt/file" 2>&1)' instead of '$1'"
}

mkdir "$work/fs" "$work/state" "$work/run" "$work/mnt" "$work/snap"
vgcreate -q vgtest /dev/ubda
lvcreate -q --yes --type thin-pool -L 1500M -n pool vgtest
lvchange -q --errorwhenfull y vgtest/pool
lvcreate -q --yes -V 600M --thinpool pool -n brick vgtest
mkfs.xfs -q /dev/vgtest/brick
mount /dev/vgtest/brick "$work/fs"
start
polder cluster init --name lvm --listen 127.0.0.1:24117 > /dev/null
clustered=yes
polder volume create data "127.0.0.1:$work/fs/data" > /dev/null
polder volume start data > /dev/null
mount.polder 127.0.0.1:/data "$work/mnt" -o "socket=$work/run/data.sock"

echo good > "$work/mnt/file"
seq 10000 > "$work/mnt/numbers"
good=$(polder snapshot create good data no-timestamp)
echo bad > "$work/mnt/file"
polder snapshot activate "$good" > /dev/null
mount.polder "127.0.0.1:/$good" "$work/snap" -o "socket=$work/run/data.sock"
[ "$(cat "$work/snap/file")" = good ] || fail "the snapshot does not hold what was there"
seq 10000 | cmp - "$work/snap/numbers" || fail "the snapshot does not hold the numbers"
stop -KILL
start
[ "$(cat "$work/snap/file")" = good ] || fail "the snapshot is not served again after kill -9"
content bad "after kill -9"
for point in after-mark after-backend; do
  die_at "snapshot/$point" polder snapshot create killed data
  consistent "$point"
  content bad "$point"
done

for point in restore-after-carry before-exchange after-exchange restore-after-commit; do
  echo bad > "$work/mnt/file"
  polder volume stop data > /dev/null
  die_at "snapshot/$point" polder --yes snapshot restore "$good"
  consistent "$point"
  polder volume start data > /dev/null || fail "$point: the volume does not start"
  case $point in restore-after-carry) want=bad ;; *) want=good ;; esac
  content $want "$point"
done
echo again > "$work/mnt/file" || fail "the restored volume cannot be written"
kept=$(polder snapshot list data | grep '^pre-restore' | tail -n 1)
polder snapshot activate "$kept" > /dev/null
polder changelog verify data > "$work/out" || fail "$(cat "$work/out")"

umount "$work/snap" "$work/mnt"
polder --yes snapshot delete all > /dev/null
[ -z "$(on_disk)" ] || fail "left on disk: $(on_disk | xargs)"
! grep -q "$work/run" /proc/mounts || fail "a snapshot is still mounted"
stop -TERM
grep -oE 'changes were held for [0-9]+ ms' "$work/log" | tail -n 1
echo "snapshot_lvm_volume_test: all is well"
