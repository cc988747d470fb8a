// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/backend/backend.h"

#include <algorithm>

#include "snapshot/backend/btrfs.h"
#include "snapshot/backend/lvm.h"

namespace polder {

Result<void> check_snapshot_id(const std::string& id) {
  const bool fits =
      !id.empty() && id.size() <= 64 && id[0] != '-' && std::all_of(id.begin(), id.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-';
      });
  if (!fits) return Error(EINVAL).with("snapshot id '{}'", id);
  return {};
}

Result<std::unique_ptr<SnapshotBackend>> make_snapshot_backend(const std::string& brick_path,
                                                               const std::string& place) {
  if (!place.empty()) return make_lvm_backend_at(place);
  TRY(auto btrfs, make_btrfs_backend(brick_path));
  if (btrfs) return btrfs;
  TRY(auto lvm, make_lvm_backend(brick_path));
  if (lvm) return lvm;
  return Error(EOPNOTSUPP)
      .with("brick {} can't have snapshots: its file system is neither btrfs nor on an LVM thin volume",
            brick_path);
}

}  // namespace polder
