// SPDX-License-Identifier: GPL-3.0-or-later
// Locks between processes and between mounts. The kernel leaves all of it to the volume, except that it
// tells us of each close (FLUSH) and of the last one of a file description (RELEASE).
#include <algorithm>

#include "base/concurrency.h"
#include "base/coro.h"
#include "base/log.h"
#include "core-volume/client/fuse/bridge.h"

namespace polder {

struct Bridge::Unlocking {
  bool done = false;
  Event changed;
};

namespace {

struct flock to_flock(const FileLock& lock) {
  struct flock out{};
  out.l_whence = SEEK_SET;
  switch (lock.type) {
    case FileLock::Type::kRead:
      out.l_type = F_RDLCK;
      break;
    case FileLock::Type::kWrite:
      out.l_type = F_WRLCK;
      break;
    case FileLock::Type::kUnlock:
      out.l_type = F_UNLCK;
      break;
  }
  out.l_start = static_cast<off_t>(lock.start);
  constexpr std::uint64_t kEndMax = INT64_MAX - 1;
  out.l_len = lock.end >= kEndMax ? 0 : static_cast<off_t>(lock.end - lock.start + 1);
  out.l_pid = static_cast<pid_t>(lock.pid);
  return out;
}

}  // namespace

Task<void> Bridge::test_lock(Request request, NodeId node, FileLock lock) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  auto in_the_way = co_await volume_.test_lock(request.context(), gfid, lock);
  if (in_the_way)
    request.lock(to_flock(*in_the_way));
  else
    request.fail(in_the_way.error());
}

Task<void> Bridge::set_lock(Request request, NodeId node, std::uint64_t file, FileLock lock, bool wait) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  if (lock.kind == FileLock::Kind::kPosix && lock.type != FileLock::Type::kUnlock) {
    // Before the lock is there: a close that comes meanwhile must already know of it.
    lock_owners_[node].insert(lock.owner);
    if (auto open = files_.find(file); open != files_.end()) {
      auto& owners = open->second.lock_owners;
      if (std::ranges::find(owners, lock.owner) == owners.end()) owners.push_back(lock.owner);
    }
  }
  auto done = co_await volume_.set_lock(request.context(), gfid, lock, wait);
  done ? request.ok() : request.fail(done.error());
}

// Every close(2). There is nothing to write back, so it costs no round trip unless this process has POSIX
// locks on the file: closing any of its descriptors releases them. (ENOSYS, which would stop the kernel from
// asking, is for the life of the mount: locks taken later would then never be released.)
bool Bridge::flush_now(Request& request, NodeId node, std::uint64_t lock_owner) {
  if (inodes_.find(node) == nullptr) return false;
  const auto owners = lock_owners_.find(node);
  if (owners != lock_owners_.end() && owners->second.contains(lock_owner)) return false;
  request.ok();
  return true;
}

// A process that was killed is not kept waiting: its signal cancels this task. Its locks must go all the
// same, or others would wait for a dead process for ever; so a task of its own releases them.
Task<void> Bridge::flush(Request request, NodeId node, std::uint64_t lock_owner) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  if (take_lock_owner(node, lock_owner)) {
    auto unlocking = std::make_shared<Unlocking>();
    background(unlock_and_tell(request.context(), node, gfid, lock_owner, unlocking));
    while (!unlocking->done) {
      auto waited = co_await unlocking->changed.wait();
      if (!waited) break;
    }
  }
  request.ok();
}

Task<void> Bridge::unlock_and_tell(OpContext context, NodeId node, Gfid gfid, std::uint64_t owner,
                                   std::shared_ptr<Unlocking> unlocking) {
  co_await unlock(context, node, gfid, FileLock::Kind::kPosix, owner);
  unlocking->done = true;
  unlocking->changed.notify_all();
}

bool Bridge::take_lock_owner(NodeId node, std::uint64_t owner) {
  const auto found = lock_owners_.find(node);
  if (found == lock_owners_.end() || found->second.erase(owner) == 0) return false;
  if (found->second.empty()) lock_owners_.erase(found);
  return true;
}

Task<void> Bridge::unlock(const OpContext& context, NodeId node, Gfid gfid, FileLock::Kind kind,
                          std::uint64_t owner) {
  const FileLock lock{.kind = kind, .type = FileLock::Type::kUnlock, .owner = owner, .pid = context.pid};
  auto done = co_await volume_.set_lock(context, gfid, lock, false);
  if (!done)
    log::warning("a lock of node {} could not be released: {}; it ends with the session", node,
                 done.error().message());
}

}  // namespace polder
