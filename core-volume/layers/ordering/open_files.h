// SPDX-License-Identifier: GPL-3.0-or-later
// OpenFiles: which session has which object open. Handles are the session's and die with it. Loop thread
// only.
#pragma once
#include <map>
#include <unordered_map>
#include <vector>

#include "core-volume/layer/file_attr.h"

namespace polder {

class OpenFiles {
 public:
  /// `first`: handles of different runs of the daemon should differ, so that an old one is not taken for a
  /// new one.
  explicit OpenFiles(HandleId first) : next_(first) {}

  HandleId add(std::uint32_t session, const Gfid& gfid);
  bool has(std::uint32_t session, const Gfid& gfid, HandleId handle) const;
  /// False when there was no such handle.
  bool remove(std::uint32_t session, const Gfid& gfid, HandleId handle);
  /// Objects of which that was the last handle.
  std::vector<Gfid> remove_session(std::uint32_t session);
  bool is_open(const Gfid& gfid) const { return counts_.contains(gfid); }
  std::size_t size() const { return handles_.size(); }
  std::size_t objects() const { return counts_.size(); }
  struct Listed {
    std::uint32_t session;
    HandleId handle;
    Gfid gfid;
  };
  /// At most `most` of them, for people.
  std::vector<Listed> list(std::size_t most) const {
    std::vector<Listed> listed;
    for (const auto& [key, gfid] : handles_) {
      if (listed.size() >= most) break;
      listed.push_back({key.first, key.second, gfid});
    }
    return listed;
  }

 private:
  using Key = std::pair<std::uint32_t, HandleId>;
  bool drop(const Gfid& gfid);  // true: that was the last

  HandleId next_;
  std::map<Key, Gfid> handles_;
  std::unordered_map<Gfid, std::uint32_t> counts_;
};

}  // namespace polder
