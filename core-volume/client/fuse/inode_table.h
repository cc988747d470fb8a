// SPDX-License-Identifier: GPL-3.0-or-later
// InodeTable: the objects that the kernel knows, and what it believes about them. A nodeid is an index into
// the table with the generation of its use in the upper half, so a nodeid is never used twice and one that
// the kernel should have forgotten finds nothing. Loop thread only.
//
// Directories that the kernel takes for dead: after a successful rmdir, and a rename on to a directory, the
// kernel marks the inode that it believed to be there (S_DEAD) for as long as it keeps that inode: nothing is
// listed in it or made in it any more. It may have believed wrongly: another mount had moved that directory
// away, and it lives. So the table follows where the kernel believes each directory to be, and one that the
// kernel has seen die is told under a new nodeid, should it be met again: retire().
#pragma once
#include <chrono>
#include <cstdint>
#include <ctime>
#include <deque>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/gfid.h"

namespace polder {

using NodeId = std::uint64_t;
constexpr NodeId kRootNode = 1;

struct Inode {
  Gfid gfid;
  Gfid parent;              // of directories, for "..": where it was last seen
  std::uint64_t place = 0;  // of directories: key of the name at which the kernel believes it, 0 for none
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
  /// Gives memory of what was forgotten back, as far as it lies behind all that is known.
  void shrink();
  /// Null when the kernel does not (any longer) know the object. Good until the next forget.
  Inode* find(NodeId node);
  /// 0 when unknown.
  NodeId node_of(Gfid gfid) const;
  std::vector<NodeId> all() const;

  /// The kernel believes the directory `node` to be at this name now, and nowhere else.
  void place(NodeId node, NodeId parent, std::string_view name);
  /// The kernel believes what was at `from` to be at `to`, and with `exchange` the reverse.
  void moved(NodeId from, std::string_view from_name, NodeId to, std::string_view to_name, bool exchange);
  /// The directory that the kernel believes to be there; 0 when it knows of none.
  NodeId directory_at(NodeId parent, std::string_view name) const;
  /// The kernel will not use the node for anything new: remember() gives the object another one. 0: does
  /// nothing.
  void retire(NodeId node);

  /// Objects known to the kernel besides the root (and retired ones), and their look-ups: both 0 once it has
  /// let go of all.
  std::size_t size() const { return by_gfid_.size() - 1; }
  std::uint64_t lookups() const { return lookups_; }

 private:
  void place_at(std::uint64_t key, NodeId node);
  void leave_place(NodeId node, Inode& inode);

  std::deque<Inode> inodes_;  // a deque: references stay while it grows
  std::vector<std::uint32_t> free_;
  std::uint32_t first_generation_ = 0;  // of an index that was never used, or was given back by shrink()
  std::unordered_map<Gfid, std::uint32_t> by_gfid_;
  std::unordered_map<std::uint64_t, NodeId> directories_;  // by Inode::place
  std::uint64_t lookups_ = 0;
};

}  // namespace polder
