// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/space_reserve.h"

#include <linux/falloc.h>
#include <linux/magic.h>

#include <algorithm>

#include "core-volume/layer/no_room.h"

namespace polder {

namespace {

constexpr std::uint64_t kSizeMin_bytes = 256 << 10, kSizeMax_bytes = 4 << 20, kShareOfDisk = 64;

}  // namespace

Result<void> SpaceReserve::refill() {
  std::lock_guard lock(mutex_);
  if (whole_) return {};
  if (!file_) {
    TRY(file_, disk_.open(Disk::kNoDir, path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0600).with("open {}", path_));
  }
  TRY(auto space, disk_.statfs(file_.fd()));
  const std::uint64_t block = space.f_bsize;
  const auto size = std::clamp(space.f_blocks * block / kShareOfDisk, kSizeMin_bytes, kSizeMax_bytes);
  TRY(auto there, disk_.fstat(file_.fd()));
  const auto allocated = static_cast<std::uint64_t>(there.st_blocks) * 512;
  if (allocated >= size) {  // of an earlier run
    whole_ = true;
    missing_ = 0;
    return {};
  }
  missing_ = size;
  if (space.f_bavail * block < 2 * size) return {};
  auto made = disk_.fallocate(file_.fd(), 0, 0, size);
  if (!made && made.failed_with(EOPNOTSUPP)) missing_ = 0;
  if (made) {
    whole_ = true;
    missing_ = 0;
  }
  if (!made && is_no_room(made.error())) return {};
  return std::move(made).with("allocate {}", path_);
}

bool SpaceReserve::release() {
  std::lock_guard lock(mutex_);
  if (!whole_) return false;
  auto before = disk_.fstat(file_.fd());
  if (!disk_.truncate(file_.fd(), 0)) return false;
  whole_ = false;
  missing_ = before ? static_cast<std::uint64_t>(before->st_blocks) * 512 : kSizeMax_bytes;
  return true;
}

bool SpaceReserve::finds(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (!file_) return false;
  constexpr std::uint64_t kBehind = 1 << 30;  // the reserve itself
  auto space = disk_.statfs(file_.fd());
  if (!space || space->f_type != XFS_SUPER_MAGIC) return false;  // others keep nothing ready
  // More than is free, or nothing would be given up. XFS allocates all of it or nothing.
  bytes += missing_ + space->f_bavail * static_cast<std::uint64_t>(space->f_bsize);
  auto found = disk_.fallocate(file_.fd(), FALLOC_FL_KEEP_SIZE, kBehind, bytes);
  auto freed = disk_.fallocate(file_.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kBehind, bytes);
  return found && freed;
}

}  // namespace polder
