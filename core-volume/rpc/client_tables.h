// SPDX-License-Identifier: GPL-3.0-or-later
// What a client must know to go on after the server restarted: its open handles and its locks. Plain state.
// Internal to rpc.
#pragma once
#include <map>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "core-volume/layer/file_attr.h"

namespace polder {

struct ClientHandle {
  Gfid gfid;
  int open_flags = 0;      // for opening it again: without creation and truncation
  HandleId at_server = 0;  // good in the server process `server_incarnation`
  std::uint64_t server_incarnation = 0;
  bool dead = false;     // its session is gone: ESTALE
  bool closing = false;  // release() was called: not opened again
};

/// Handles by the number that the layers above know.
class OpenHandles {
 public:
  HandleId add(Gfid gfid, int flags, HandleId at_server, std::uint64_t server_incarnation);
  ClientHandle* find(HandleId handle);
  void erase(HandleId handle) { handles_.erase(handle); }
  void kill_all();
  /// Those that the server process `server_incarnation` does not know.
  std::vector<HandleId> to_reopen(std::uint64_t server_incarnation) const;
  std::size_t size() const { return handles_.size(); }

 private:
  std::unordered_map<HandleId, ClientHandle> handles_;
  HandleId last_ = 0;
};

/// Granted locks, as the server has them: applying what it granted, in order, gives its state.
class HeldLocks {
 public:
  void apply(Gfid gfid, const FileLock& granted);
  void clear() { held_.clear(); }
  bool empty() const { return held_.empty(); }
  std::vector<std::pair<Gfid, FileLock>> all() const;

 private:
  using Owner = std::tuple<Gfid, FileLock::Kind, std::uint64_t>;
  std::map<Owner, std::vector<FileLock>> held_;  // disjoint ranges in order
};

}  // namespace polder
