// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/space_budget.h"

#include <algorithm>

namespace polder {
namespace {

/// Of a change of so many bytes, with log, inode and directory blocks.
std::int64_t cost_of(std::uint64_t bytes) {
  constexpr std::uint64_t kOverheadBytes = 16 << 10;
  return static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, INT64_MAX / 2) + kOverheadBytes);
}

}  // namespace

bool SpaceBudget::has_room(std::uint64_t bytes) {
  const auto cost = cost_of(bytes);
  return left_bytes_.fetch_sub(cost) >= cost;
}

Result<void> SpaceBudget::find_room(std::uint64_t bytes) {
  // Others may use the file system too, so the answer is good for a while only.
  constexpr std::int64_t kBudgetMaxBytes = 64 << 20;
  const auto cost = cost_of(bytes);
  left_bytes_ = 0;
  TRY(auto available, available_bytes());
  if (available < cost) {
    write_back(static_cast<std::uint64_t>(cost));
    TRY(available, available_bytes());
  }
  if (available < cost) return Error(ENOSPC);
  left_bytes_ = std::min((available - cost) / 4, kBudgetMaxBytes);
  return {};
}

/// XFS keeps room ready behind the ends of files that grow, up to half of the disk, and counts it as taken.
/// It gives that up when it is asked for room that it does not have, but only of files that are written back:
/// so those first. Not again at once when there was nothing.
void SpaceBudget::write_back(std::uint64_t bytes) {
  constexpr std::int64_t kAgainAfter_ns = 1'000'000'000;
  const std::int64_t now = clock_.boot_time().count();
  if (now - written_back_ns_.load() < kAgainAfter_ns) return;
  (void)store_.syncfs();
  if (!reserve_.finds(bytes)) written_back_ns_ = now;
}

/// For new data: what the reserve lacks is not. ENOSPC when no inode is left.
Result<std::int64_t> SpaceBudget::available_bytes() {
  TRY(auto space, store_.statfs());
  if (space.files != 0 && space.files_free == 0) return Error(ENOSPC);  // btrfs says 0 of 0
  const auto free = space.blocks_available * space.block_size;
  return static_cast<std::int64_t>(free - std::min(free, reserve_.missing_bytes()));
}

}  // namespace polder
