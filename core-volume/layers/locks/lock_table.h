// SPDX-License-Identifier: GPL-3.0-or-later
// LockTable: the locks that are held on one file, POSIX ranges and flocks. Pure state: who waits is the
// layer's business.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "core-volume/layer/file_attr.h"

namespace polder {

/// Whose lock it is. The kernel's owner is unique within a session (one mount) only.
struct LockOwner {
  std::uint32_t session = 0;
  std::uint64_t owner = 0;
  auto operator<=>(const LockOwner&) const = default;
};

struct HeldLock {
  LockOwner owner;
  FileLock lock;
};

class LockTable {
 public:
  /// The held lock in the way of `lock`, the lowest one; none when it could be set at once. Locks of one
  /// owner never stand in each other's way, nor do POSIX locks and flocks.
  const HeldLock* conflict(const LockOwner& owner, const FileLock& lock) const;
  /// All of them.
  std::vector<LockOwner> blockers(const LockOwner& owner, const FileLock& lock) const;

  /// Sets or, with kUnlock, clears `lock`. What the owner held in the range is replaced: split at its ends,
  /// joined with neighbours of the same type. There must be no conflict.
  void set(const LockOwner& owner, const FileLock& lock);
  /// Drops everything of a session. True when there was something.
  bool drop_session(std::uint32_t session);

  bool empty() const { return held_.empty(); }
  std::size_t size() const { return held_.size(); }
  const std::vector<HeldLock>& held() const { return held_; }

 private:
  std::vector<HeldLock> held_;  // by start; locks of one owner and kind do not overlap
};

}  // namespace polder
