#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A directory of very many files: created, listed, looked at and deleted. Times per file of each tenth (they must not grow with
# the number of files), and the memory of polderd and mount.polder.
#   million_test.sh [--bricks N] [--files N]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/volume.sh"
files=1000000
while [ $# -gt 0 ]; do
  case $1 in
    --bricks) bricks=$2; shift 2 ;;
    --files) files=$2; shift 2 ;;
    *) echo "usage: million_test.sh [--bricks N] [--files N]" >&2; exit 2 ;;
  esac
done
size=$((2 + files * 3 / 1000000))G
volume_up
mkdir "$work/mnt"
volume_mount "$work/mnt"
memory() {
  local daemon mount
  daemon=$(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$(cat "$("$cluster" dir "$name")/pid")/status")
  mount=$(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$(pgrep -f "^mount.polder .* $work/mnt " | head -n 1)/status")
  echo "$1: polderd $daemon MiB, mount.polder $mount MiB"
}
memory "at the beginning"
"$here/million.py" create "$work/mnt/d" "$files"
memory "$files files created"
"$here/million.py" list "$work/mnt/d" "$files"
memory "listed with attributes"
echo 2 > /proc/sys/vm/drop_caches
sleep 2
memory "after drop_caches"
volume_restart
"$here/million.py" list "$work/mnt/d" "$files"
"$here/million.py" delete "$work/mnt/d" "$files"
memory "deleted"
volume_check
echo "million_test: all is well"
