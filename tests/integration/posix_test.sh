#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The POSIX suite (tests/integration/posix) on a volume that is mounted twice, with daemons that are killed on the way.
#   posix_test.sh [--bricks N] [--fs xfs|btrfs|dir] [--plain] [ARGUMENTS OF posix/run]
#   --plain: on the plain file system instead, for comparison; --seconds N: how long each random test runs (default 10)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/volume.sh"
plain=0
while [ $# -gt 0 ]; do
  case $1 in
    --bricks) bricks=$2; shift 2 ;;
    --fs) fs=$2; shift 2 ;;
    --plain) plain=1; shift ;;
    --seconds) export POSIX_SECONDS=$2; shift 2 ;;
    *) break ;;
  esac
done
volume_up
mkdir "$work/a" "$work/b"
if [ $plain -eq 1 ]; then
  mkdir "$brick_place/plain"
  "$here/posix/run" "$brick_place/plain" "$@"
  exit 0
fi
volume_mount "$work/a"
volume_mount "$work/b"
mkdir "$work/a/t"
export POSIX_RESTART="$cluster kill $name 1 && $cluster start $name 1"
export POSIX_REMOUNT="umount $work/a && $cluster mount $name data $work/a"
"$here/posix/run" "$work/a/t" "$work/b/t" "$@"
volume_check
echo "posix_test: all is well"
