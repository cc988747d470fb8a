// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/backend/backend.h"

#include <algorithm>

#include "base/command.h"
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

namespace {

constexpr std::chrono::seconds kOrphanLimit{30};

class SystemBackends final : public SnapshotBackends {
 public:
  explicit SystemBackends(std::string commands_lock) : commands_lock_(std::move(commands_lock)) {}

  Result<void> claim() override { return own_commands(commands_lock_, kOrphanLimit); }

  Result<std::unique_ptr<SnapshotBackend>> make(const std::string& brick_path,
                                                const std::string& place) override {
    if (!place.empty()) return make_lvm_backend_at(place);
    TRY(auto btrfs, make_btrfs_backend(brick_path));
    if (btrfs) return btrfs;
    TRY(auto lvm, make_lvm_backend(brick_path));
    if (lvm) return lvm;
    return Error(EOPNOTSUPP)
        .with("brick {} can't have snapshots: its file system is neither btrfs nor on an LVM thin volume",
              brick_path);
  }

 private:
  const std::string commands_lock_;
};

}  // namespace

std::unique_ptr<SnapshotBackends> make_system_snapshot_backends(std::string commands_lock) {
  return std::make_unique<SystemBackends>(std::move(commands_lock));
}

}  // namespace polder
