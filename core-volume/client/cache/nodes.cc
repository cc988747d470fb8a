// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/cache/nodes.h"

namespace polder {

const CachedName* CachedNode::name(std::string_view name) const {
  auto found = names_.find(name);
  return found == names_.end() ? nullptr : &found->second;
}

CachedNode* Nodes::find(const Gfid& gfid) {
  auto found = nodes_.find(gfid);
  if (found == nodes_.end()) return nullptr;
  auto& node = found->second;
  used_.splice(used_.end(), used_, used_.iterator_to(node));
  return &node;
}

CachedNode& Nodes::find_or_make(const Gfid& gfid, std::uint64_t now) {
  if (auto* known = find(gfid)) return *known;
  auto made =
      nodes_.emplace(std::piecewise_construct, std::forward_as_tuple(gfid), std::forward_as_tuple(gfid, now));
  auto& node = made.first->second;
  used_.push_back(node);
  if (nodes_.size() > options_.nodes_max) forget_least_used(&node);
  return node;
}

void Nodes::drop(const Gfid& gfid) {
  auto found = nodes_.find(gfid);
  if (found == nodes_.end()) return;
  names_ -= found->second.names_.size();
  used_.erase(used_.iterator_to(found->second));
  nodes_.erase(found);
}

void Nodes::clear() {
  used_.clear();
  nodes_.clear();
  names_ = 0;
}

void Nodes::forget_least_used(const CachedNode* except) {
  for (auto& node : used_)
    if (&node != except) return drop(Gfid(node.gfid));
}

const FileAttr* Nodes::attributes(const Gfid& gfid) {
  const auto* node = find(gfid);
  if (node == nullptr || !node->attr_known || node->attr_epoch != attr_epoch_) return nullptr;
  return &node->attr;
}

void Nodes::set_attributes(CachedNode& node, const FileAttr& attr) {
  node.attr = attr;
  node.attr_known = true;
  node.attr_epoch = attr_epoch_;
}

void Nodes::set_name(CachedNode& directory, std::string_view name, const CachedName& known) {
  auto& names = directory.names_;
  auto found = names.find(name);
  if (known.state == CachedName::State::kUnknown && !directory.complete) {
    if (found == names.end()) return;
    names.erase(found);
    --names_;
    return;
  }
  if (found != names.end()) {
    found->second = known;
    return;
  }
  names.emplace(name, known);
  ++names_;
  while (names_ > options_.names_max && used_.size() > 1) forget_least_used(&directory);
  if (names_ > options_.names_max) drop(Gfid(directory.gfid));
}

}  // namespace polder
