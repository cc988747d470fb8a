// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/inode_table.h"

#include <algorithm>

namespace polder {

namespace {

NodeId make_node(std::uint32_t index, std::uint32_t generation) {
  return static_cast<NodeId>(generation) << 32 | index;
}

/// Never 0.
std::uint64_t place_key(NodeId parent, std::string_view name) {
  return (std::hash<std::string_view>()(name) ^ parent * 0x9e3779b97f4a7c15u) | 1;
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
    inodes_.emplace_back().generation = first_generation_;
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
  if (node_of(inode->gfid) == node) by_gfid_.erase(inode->gfid);
  leave_place(node, *inode);
  const std::uint32_t next_generation = inode->generation + 1;
  *inode = Inode{};
  inode->generation = next_generation;
  free_.push_back(static_cast<std::uint32_t>(node));
}

void InodeTable::shrink() {
  while (inodes_.size() > kRootNode + 1 && inodes_.back().lookups == 0) {
    first_generation_ = std::max(first_generation_, inodes_.back().generation);
    inodes_.pop_back();
  }
  std::erase_if(free_, [this](std::uint32_t index) { return index >= inodes_.size(); });
  free_.shrink_to_fit();
  by_gfid_.rehash(0);
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

void InodeTable::leave_place(NodeId node, Inode& inode) {
  if (auto at = directories_.find(inode.place); at != directories_.end() && at->second == node)
    directories_.erase(at);
  inode.place = 0;
}

void InodeTable::place_at(std::uint64_t key, NodeId node) {
  Inode* inode = find(node);
  if (inode == nullptr || node == kRootNode || inode->place == key) return;
  leave_place(node, *inode);
  inode->place = key;
  directories_[key] = node;
}

void InodeTable::place(NodeId node, NodeId parent, std::string_view name) {
  place_at(place_key(parent, name), node);
}

void InodeTable::moved(NodeId from, std::string_view from_name, NodeId to, std::string_view to_name,
                       bool exchange) {
  const NodeId source = directory_at(from, from_name), target = directory_at(to, to_name);
  if (Inode* inode = find(target)) leave_place(target, *inode);
  if (source != 0) place_at(place_key(to, to_name), source);
  if (exchange && target != 0) place_at(place_key(from, from_name), target);
}

NodeId InodeTable::directory_at(NodeId parent, std::string_view name) const {
  const auto found = directories_.find(place_key(parent, name));
  return found == directories_.end() ? 0 : found->second;
}

void InodeTable::retire(NodeId node) {
  Inode* inode = find(node);
  if (inode == nullptr || node == kRootNode) return;
  leave_place(node, *inode);
  if (node_of(inode->gfid) == node) by_gfid_.erase(inode->gfid);
}

}  // namespace polder
