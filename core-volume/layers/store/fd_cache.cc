// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/fd_cache.h"

namespace polder {

FdRef FdCache::get(Kind kind, const Gfid& gfid) {
  std::lock_guard lock(mutex_);
  auto found = table_.find({kind, gfid});
  if (found == table_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->file;
}

FdRef FdCache::put(Kind kind, const Gfid& gfid, FdRef ref) {
  FdRef dropped;  // closed after the mutex is free: close(2) of an unlinked file may take long
  std::lock_guard lock(mutex_);
  Key key{kind, gfid};
  if (auto found = table_.find(key); found != table_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->file;
  }
  entries_.push_front({key, ref});
  table_.emplace(key, entries_.begin());
  if (entries_.size() > capacity_) {
    dropped = std::move(entries_.back().file);
    table_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return ref;
}

void FdCache::erase(Kind kind, const Gfid& gfid) {
  FdRef dropped;
  std::lock_guard lock(mutex_);
  auto found = table_.find({kind, gfid});
  if (found == table_.end()) return;
  dropped = std::move(found->second->file);
  entries_.erase(found->second);
  table_.erase(found);
}

}  // namespace polder
