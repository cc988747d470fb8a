// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/open_files.h"

namespace polder {

HandleId OpenFiles::add(std::uint32_t session, const Gfid& gfid) {
  if (++next_ == 0) ++next_;  // 0 means "none"
  handles_.emplace(Key{session, next_}, gfid);
  ++counts_[gfid];
  return next_;
}

bool OpenFiles::has(std::uint32_t session, const Gfid& gfid, HandleId handle) const {
  auto at = handles_.find({session, handle});
  return at != handles_.end() && at->second == gfid;
}

bool OpenFiles::remove(std::uint32_t session, const Gfid& gfid, HandleId handle) {
  if (!has(session, gfid, handle)) return false;
  handles_.erase({session, handle});
  drop(gfid);
  return true;
}

std::vector<Gfid> OpenFiles::remove_session(std::uint32_t session) {
  std::vector<Gfid> closed;
  auto at = handles_.lower_bound({session, 0});
  while (at != handles_.end() && at->first.first == session) {
    if (drop(at->second)) closed.push_back(at->second);
    at = handles_.erase(at);
  }
  return closed;
}

bool OpenFiles::drop(const Gfid& gfid) {
  auto at = counts_.find(gfid);
  if (--at->second > 0) return false;
  counts_.erase(at);
  return true;
}

}  // namespace polder
