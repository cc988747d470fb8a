// SPDX-License-Identifier: GPL-3.0-or-later
// Attributes of directories that came with the answers to changes in them. The kernel forgets a directory's
// attributes when it has changed a name in it, and asks for them at the next path through it: answered from
// here, as long as it would have believed them had it not forgotten, and only until the next change.
#include "core-volume/client/fuse/bridge.h"
#include "core-volume/client/fuse/fuse_server.h"

namespace polder {

namespace {

constexpr std::size_t kDirectoriesMax = 1024;

bool is_older(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

}  // namespace

/// Each change forgets what was known when it begins (names_change) and brings what it led to. Answers of
/// changes that ran side by side may come in any order: the change index tells which is the newest.
void Bridge::learn_directory(const FileAttr& attr) {
  const NodeId node = inodes_.node_of(attr.gfid);
  if (node == 0) return;
  if (directories_.size() >= kDirectoriesMax) directories_.clear();
  Directory& known = directories_[node];
  if (is_older(attr.ctime, known.attr.ctime)) return;
  known = {attr, clock_.boot_time() + options_.attribute_timeout};
}

/// False when the brick must be asked.
bool Bridge::answer_directory(Request& request, NodeId node) {
  const auto found = directories_.find(node);
  if (found == directories_.end()) return false;
  const auto left = found->second.until - clock_.boot_time();
  const FileAttr attr = found->second.attr;
  directories_.erase(found);  // the kernel has them now
  Inode* inode = inodes_.find(node);
  if (left.count() <= 0 || inode == nullptr) return false;
  told_attributes(*inode, attr);
  request.attributes(to_stat(attr), std::chrono::duration<double>(left).count());
  return true;
}

}  // namespace polder
