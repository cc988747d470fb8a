// SPDX-License-Identifier: GPL-3.0-or-later
// InodeTable: the objects that the kernel knows, and what it believes about them. A nodeid is an index into
// the table with the generation of its use in the upper half, so a nodeid is never used twice and one that
// the kernel should have forgotten finds nothing. Loop thread only.
#pragma once
#include <chrono>
#include <cstdint>
#include <ctime>
#include <deque>
#include <unordered_map>
#include <vector>

#include "base/gfid.h"

namespace polder {

using NodeId = std::uint64_t;
constexpr NodeId kRootNode = 1;

struct Inode {
  Gfid gfid;
  Gfid parent;  // of directories, for "..": where it was last seen
  std::uint64_t lookups = 0;
  std::uint32_t generation = 0;
  std::uint32_t mode = 0;        // as last told to the kernel
  std::uint32_t open_files = 0;  // handles of this mount
  // The kernel may believe the attributes of change index `attr_ctime` until `attr_until` (boot time).
  timespec attr_ctime{};
  std::chrono::nanoseconds attr_until{0};
  // Pages that the kernel caches are not older than this change index: that of the last open.
  timespec pages_ctime{};
  // Without extended attributes: good until then. Not believed before `plain_after`: this mount changed some,
  // and older answers may still be under way.
  std::chrono::nanoseconds plain_until{0};
  std::chrono::nanoseconds plain_after{0};
  std::chrono::nanoseconds no_capability_until{0};  // security.capability was absent; good until then

  void forget_xattrs() { plain_until = no_capability_until = std::chrono::nanoseconds(0); }
};

class InodeTable {
 public:
  explicit InodeTable(Gfid root);

  /// Counts one look-up: the kernel is about to be told of this object.
  NodeId remember(Gfid gfid);
  /// Takes look-ups back; frees the entry at 0. More than there are is the kernel's error: counted as all.
  void forget(NodeId node, std::uint64_t lookups);
  /// Null when the kernel does not (any longer) know the object. Good until the next forget.
  Inode* find(NodeId node);
  /// 0 when unknown.
  NodeId node_of(Gfid gfid) const;
  std::vector<NodeId> all() const;

  /// Objects known to the kernel besides the root, and their look-ups: both 0 once it has let go of all.
  std::size_t size() const { return by_gfid_.size() - 1; }
  std::uint64_t lookups() const { return lookups_; }

 private:
  std::deque<Inode> inodes_;  // a deque: references stay while it grows
  std::vector<std::uint32_t> free_;
  std::unordered_map<Gfid, std::uint32_t> by_gfid_;
  std::uint64_t lookups_ = 0;
};

}  // namespace polder
