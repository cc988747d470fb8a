#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# polder_power_loss_test in a guest kernel that has dm-log-writes.
#   power_loss_test.sh [xfs|ext4|btrfs][_1|_3]     the file system, and the number of bricks; all without
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tests=${POLDER_TESTS:-$here/../../build/dev/tests}
if [ -z "${THIN_VM:-}" ]; then
  exec "$here/../support/vm/thin-vm" --mem 1536M --disk 4G,1G,1G,1G --timeout 1780 -- "$here/$(basename "$0")" "$@"
fi
modprobe -a dm-log-writes dm-snapshot
exec "$tests/polder_power_loss_test" --gtest_filter="*/${1:-}*"
