// SPDX-License-Identifier: GPL-3.0-or-later
// Invalidator: tells the kernel to drop what it caches, from a thread of its own. The kernel may wait inside
// such a call for locks that another process holds while it waits for an answer of ours: on the loop thread
// that would be a deadlock. Asked for on the loop thread; told in order.
#pragma once
#include <deque>
#include <string>
#include <unordered_set>

#include "base/concurrency.h"
#include "base/workers.h"
#include "core-volume/client/fuse/fuse_api.h"
#include "core-volume/client/fuse/inode_table.h"

namespace polder {

class Invalidator {
 public:
  /// Everything given outlives the invalidator. `workers`: two of them at least. One for the queue; a look at
  /// attributes must not wait behind a blocked entry.
  Invalidator(fuse_session* session, InodeTable& inodes, TaskGroup& tasks,
              const boost::asio::any_io_executor& executor, Workers& workers);

  /// Attributes and pages. Queued; the same object twice is told once.
  void object(NodeId node);
  /// The kernel must look this name up again. Dropped when too many wait: the entry timeout does it then.
  void entry(NodeId parent, std::string_view name);
  /// All objects.
  void everything();

  /// The kernel's attributes of one object, now: it asks for them again at their next use. Returns once it
  /// has been told. Never while answering a request that holds a directory's lock.
  Task<void> attributes_now(NodeId node);

  bool idle() const { return queue_.empty() && !running_; }
  std::uint64_t told() const { return told_; }

 private:
  struct Item {
    NodeId node;
    std::string name;  // empty: the object itself
  };
  static constexpr std::size_t kNamesMax = 16384;
  static constexpr std::size_t kBatch = 64;

  void push(Item item);
  Task<void> run();

  fuse_session* session_;
  InodeTable& inodes_;
  TaskGroup& tasks_;
  const boost::asio::any_io_executor& executor_;
  Workers& workers_;
  std::deque<Item> queue_;
  std::unordered_set<NodeId> queued_objects_;
  std::size_t queued_names_ = 0;
  bool running_ = false;
  std::uint64_t told_ = 0;
};

}  // namespace polder
