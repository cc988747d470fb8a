// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/invalidator.h"

#include <vector>

#include "base/coro.h"
#include "base/on_worker.h"

namespace polder {

Invalidator::Invalidator(fuse_session* session, InodeTable& inodes, TaskGroup& tasks,
                         const asio::any_io_executor& executor, Workers& workers)
    : session_(session), inodes_(inodes), tasks_(tasks), executor_(executor), workers_(workers) {}

void Invalidator::object(NodeId node) {
  if (queued_objects_.insert(node).second) push({node, {}});
}

void Invalidator::entry(NodeId parent, std::string_view name) {
  if (queued_names_ == kNamesMax) return;
  ++queued_names_;
  push({parent, std::string(name)});
}

void Invalidator::everything() {
  for (NodeId node : inodes_.all()) object(node);
}

void Invalidator::push(Item item) {
  queue_.push_back(std::move(item));
  if (running_ || tasks_.stopping()) return;
  running_ = true;
  tasks_.spawn(executor_, run());
}

Task<void> Invalidator::run() {
  while (!queue_.empty() && !tasks_.stopping()) {
    std::vector<Item> batch;
    while (!queue_.empty() && batch.size() < kBatch) {
      if (queue_.front().name.empty())
        queued_objects_.erase(queue_.front().node);
      else
        --queued_names_;
      batch.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    // Errors are "the kernel does not know it (any longer)": then there is nothing to drop.
    co_await on_worker(workers_, [this, &batch] {
      for (const Item& item : batch) {
        if (item.name.empty())
          fuse_lowlevel_notify_inval_inode(session_, item.node, 0, 0);
        else
          fuse_lowlevel_notify_inval_entry(session_, item.node, item.name.data(), item.name.size());
      }
      return true;
    });
    told_ += batch.size();
  }
  running_ = false;
}

Task<void> Invalidator::attributes_now(NodeId node) {
  co_await on_worker(workers_, [this, node] {
    return fuse_lowlevel_notify_inval_inode(session_, node, -1, 0);  // negative offset: attributes only
  });
}

}  // namespace polder
