// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/client_tables.h"

#include <fcntl.h>

#include <algorithm>

namespace polder {

HandleId OpenHandles::add(Gfid gfid, int flags, HandleId at_server, std::uint64_t server_incarnation) {
  const auto handle = ++last_;
  const int again = flags & ~(O_CREAT | O_EXCL | O_TRUNC);
  handles_[handle] = {
      .gfid = gfid, .open_flags = again, .at_server = at_server, .server_incarnation = server_incarnation};
  return handle;
}

ClientHandle* OpenHandles::find(HandleId handle) {
  auto at = handles_.find(handle);
  return at == handles_.end() ? nullptr : &at->second;
}

void OpenHandles::kill_all() {
  for (auto& [id, handle] : handles_) handle.dead = true;
}

std::vector<HandleId> OpenHandles::to_reopen(std::uint64_t server_incarnation) const {
  std::vector<HandleId> ids;
  for (const auto& [id, handle] : handles_)
    if (!handle.dead && !handle.closing && handle.server_incarnation != server_incarnation) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

void HeldLocks::apply(Gfid gfid, const FileLock& granted) {
  const Owner owner{gfid, granted.kind, granted.owner};
  auto& ranges = held_[owner];
  std::vector<FileLock> after;
  for (const auto& range : ranges) {
    if (range.end < granted.start || range.start > granted.end) {
      after.push_back(range);
      continue;
    }
    if (range.start < granted.start) {
      after.push_back(range);
      after.back().end = granted.start - 1;
    }
    if (range.end > granted.end) {
      after.push_back(range);
      after.back().start = granted.end + 1;
    }
  }
  if (granted.type != FileLock::Type::kUnlock) after.push_back(granted);
  std::sort(after.begin(), after.end(), [](const auto& a, const auto& b) { return a.start < b.start; });
  // Neighbours of one type become one range, or a database's byte locks would pile up.
  ranges.clear();
  for (const auto& range : after) {
    const bool joins = !ranges.empty() && ranges.back().type == range.type &&
                       ranges.back().end != UINT64_MAX && ranges.back().end + 1 == range.start;
    if (joins)
      ranges.back().end = range.end;
    else
      ranges.push_back(range);
  }
  if (ranges.empty()) held_.erase(owner);
}

std::vector<std::pair<Gfid, FileLock>> HeldLocks::all() const {
  std::vector<std::pair<Gfid, FileLock>> locks;
  for (const auto& [owner, ranges] : held_)
    for (const auto& range : ranges) locks.emplace_back(std::get<Gfid>(owner), range);
  return locks;
}

}  // namespace polder
