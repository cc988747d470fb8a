// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/locks/lock_table.h"

#include <algorithm>
#include <tuple>

namespace polder {

namespace {

bool overlap(const FileLock& a, const FileLock& b) {
  return a.start <= b.end && b.start <= a.end;
}

bool in_the_way(const HeldLock& held, const LockOwner& owner, const FileLock& lock) {
  if (held.owner == owner || held.lock.kind != lock.kind || !overlap(held.lock, lock)) return false;
  return held.lock.type == FileLock::Type::kWrite || lock.type == FileLock::Type::kWrite;
}

// Whether `b` goes on exactly where `a` ends.
bool touches(const FileLock& a, const FileLock& b) {
  return a.end != UINT64_MAX && a.end + 1 == b.start;
}

}  // namespace

const HeldLock* LockTable::conflict(const LockOwner& owner, const FileLock& lock) const {
  for (const HeldLock& held : held_)
    if (in_the_way(held, owner, lock)) return &held;
  return nullptr;
}

std::vector<LockOwner> LockTable::blockers(const LockOwner& owner, const FileLock& lock) const {
  std::vector<LockOwner> all;
  for (const HeldLock& held : held_)
    if (in_the_way(held, owner, lock)) all.push_back(held.owner);
  return all;
}

void LockTable::set(const LockOwner& owner, const FileLock& lock) {
  std::vector<HeldLock> kept;
  kept.reserve(held_.size() + 2);
  FileLock joined = lock;
  for (const HeldLock& held : held_) {
    const FileLock& old = held.lock;
    const bool own = held.owner == owner && old.kind == lock.kind;
    const bool joins =
        own && old.type == lock.type && (overlap(old, lock) || touches(old, lock) || touches(lock, old));
    if (joins) {
      joined.start = std::min(joined.start, old.start);
      joined.end = std::max(joined.end, old.end);
    } else if (own && overlap(old, lock)) {
      HeldLock part = held;
      if (old.start < lock.start) {
        part.lock.end = lock.start - 1;
        kept.push_back(part);
      }
      if (old.end > lock.end) {
        part.lock.start = lock.end + 1;
        part.lock.end = old.end;
        kept.push_back(part);
      }
    } else {
      kept.push_back(held);
    }
  }
  if (lock.type != FileLock::Type::kUnlock) kept.push_back({owner, joined});
  std::sort(kept.begin(), kept.end(), [](const HeldLock& a, const HeldLock& b) {
    return std::tie(a.lock.start, a.owner, a.lock.kind) < std::tie(b.lock.start, b.owner, b.lock.kind);
  });
  held_ = std::move(kept);
}

bool LockTable::drop_session(std::uint32_t session) {
  return std::erase_if(held_, [&](const HeldLock& held) { return held.owner.session == session; }) > 0;
}

}  // namespace polder
