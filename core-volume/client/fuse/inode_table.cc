// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/inode_table.h"

#include <algorithm>

namespace polder {

namespace {

NodeId make_node(std::uint32_t index, std::uint32_t generation) {
  return static_cast<NodeId>(generation) << 32 | index;
}

}  // namespace

InodeTable::InodeTable(Gfid root) {
  inodes_.resize(kRootNode + 1);  // index 0 is not a node: FUSE uses it for "no such object"
  inodes_[kRootNode].gfid = root;
  inodes_[kRootNode].parent = root;
  by_gfid_.emplace(root, static_cast<std::uint32_t>(kRootNode));
}

NodeId InodeTable::remember(Gfid gfid) {
  if (auto found = by_gfid_.find(gfid); found != by_gfid_.end()) {
    Inode& inode = inodes_[found->second];
    if (found->second != kRootNode) {
      ++inode.lookups;
      ++lookups_;
    }
    return make_node(found->second, inode.generation);
  }
  std::uint32_t index;
  if (free_.empty()) {
    index = static_cast<std::uint32_t>(inodes_.size());
    inodes_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Inode& inode = inodes_[index];
  inode.gfid = gfid;
  inode.lookups = 1;
  ++lookups_;
  by_gfid_.emplace(gfid, index);
  return make_node(index, inode.generation);
}

void InodeTable::forget(NodeId node, std::uint64_t lookups) {
  Inode* inode = find(node);
  if (inode == nullptr || node == kRootNode) return;
  const std::uint64_t taken = std::min(lookups, inode->lookups);
  inode->lookups -= taken;
  lookups_ -= taken;
  if (inode->lookups != 0) return;
  by_gfid_.erase(inode->gfid);
  const std::uint32_t next_generation = inode->generation + 1;
  *inode = Inode{};
  inode->generation = next_generation;
  free_.push_back(static_cast<std::uint32_t>(node));
}

Inode* InodeTable::find(NodeId node) {
  const auto index = static_cast<std::uint32_t>(node);
  if (index == 0 || index >= inodes_.size()) return nullptr;
  Inode& inode = inodes_[index];
  if (inode.generation != node >> 32) return nullptr;
  if (inode.lookups == 0 && index != kRootNode) return nullptr;
  return &inode;
}

NodeId InodeTable::node_of(Gfid gfid) const {
  const auto found = by_gfid_.find(gfid);
  return found == by_gfid_.end() ? 0 : make_node(found->second, inodes_[found->second].generation);
}

std::vector<NodeId> InodeTable::all() const {
  std::vector<NodeId> nodes;
  nodes.reserve(by_gfid_.size());
  for (const auto& [gfid, index] : by_gfid_) nodes.push_back(make_node(index, inodes_[index].generation));
  return nodes;
}

}  // namespace polder
