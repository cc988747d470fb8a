#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The snapshot backend suite on real LVM thin volumes, in a guest kernel that has them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export POLDER_TESTS=${POLDER_TESTS:-$here/../../build/dev/tests}
exec "$here/../support/vm/thin-vm" --mem 2G --disk 3G --timeout 280 -- "$here/snapshot_backend_test.sh" lvm /dev/ubda
