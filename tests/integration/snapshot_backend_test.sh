#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the snapshot backend suite on real storage: btrfs on a loop file, or (argument "lvm", in a kernel with device-mapper)
# XFS on an LVM thin volume.
#   POLDER_TESTS: directory of the test programs
set -euo pipefail
suite=${POLDER_TESTS:-$(dirname "$0")/../../build/dev/tests}/polder_snapshot_backend_test
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-snapshot.XXXXXX")
cleanup() {
  grep -oE " $work[^ ]* " /proc/mounts | sort -r | xargs -r -n1 umount -l
  rm -rf "$work"
}
trap cleanup EXIT
mkdir "$work/fs"
case ${1:-btrfs} in
  btrfs)
    truncate -s 512M "$work/image"
    mkfs.btrfs -q "$work/image"
    mount -o loop "$work/image" "$work/fs"
    btrfs -q subvolume create "$work/fs/brick" ;;
  lvm)
    disk=${2:?the block device to use}
    vgcreate -q vgtest "$disk"
    lvcreate -q --yes --type thin-pool -L 1G -n pool vgtest
    lvchange -q --errorwhenfull y vgtest/pool
    lvcreate -q --yes -V 600M --thinpool pool -n brick vgtest
    mkfs.xfs -q /dev/vgtest/brick
    mount /dev/vgtest/brick "$work/fs"
    mkdir "$work/fs/brick" ;;
esac
POLDER_TEST_BRICK=$work/fs/brick "$suite" --gtest_brief=1
