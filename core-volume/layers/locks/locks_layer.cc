// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/locks/locks_layer.h"

#include "base/concurrency.h"
#include "base/coro.h"

namespace polder {

/// A request in a file's queue. The waiting task owns a share of it, so that it can look at the outcome even
/// after the layer is gone.
struct LocksLayer::Waiting {
  Gfid gfid;
  LockOwner owner;
  FileLock lock;
  Event changed;
  enum class Outcome { kPending, kGranted, kCancelled, kGone } outcome = Outcome::kPending;

  void end(Outcome how) {
    outcome = how;
    changed.notify_all();
  }
};

LocksLayer::LocksLayer(FileOps& below, Clock& clock, Options options)
    : PassThroughLayer(below), clock_(clock), options_(options) {}
LocksLayer::LocksLayer(FileOps& below, Clock& clock) : LocksLayer(below, clock, Options{}) {}

LocksLayer::~LocksLayer() {
  for (auto& [owner, waiting] : waiting_) waiting->end(Waiting::Outcome::kCancelled);
}

void LocksLayer::end_waits() {
  const auto all = waiting_;
  for (const auto& [owner, waiting] : all) {
    leave_queue(waiting);
    waiting->end(Waiting::Outcome::kGone);
  }
}

void LocksLayer::start_grace(nanoseconds duration) {
  grace_end_ = clock_.boot_time() + duration;
}

namespace {

Result<FileLock> checked(const OpContext& ctx, const FileLock& lock) {
  FileLock clean = lock;
  if (lock.kind != FileLock::Kind::kPosix && lock.kind != FileLock::Kind::kFlock)
    return Error(EINVAL).with("lock of kind {}", static_cast<unsigned>(lock.kind));
  if (lock.type > FileLock::Type::kUnlock)
    return Error(EINVAL).with("lock of type {}", static_cast<unsigned>(lock.type));
  if (lock.kind == FileLock::Kind::kFlock) {
    clean.start = 0;
    clean.end = UINT64_MAX;
  }
  if (clean.start > clean.end) return Error(EINVAL).with("lock from {} to {}", lock.start, lock.end);
  if (clean.pid == 0) clean.pid = ctx.pid;
  return clean;
}

FileLock unlock_of(FileLock lock) {
  lock.type = FileLock::Type::kUnlock;
  return lock;
}

}  // namespace

Task<Result<void>> LocksLayer::wait_for_grace(const OpContext& ctx, bool may_wait) {
  if (ctx.retry || clock_.boot_time() >= grace_end_) co_return Result<void>();
  if (!may_wait) co_return Error(EAGAIN);
  co_return co_await clock_.sleep_until(grace_end_);
}

Task<Result<FileLock>> LocksLayer::test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) {
  CO_TRY(FileLock wanted, checked(ctx, lock));
  if (wanted.type == FileLock::Type::kUnlock) co_return Error(EINVAL).with("test of an unlock");
  CO_TRY(co_await wait_for_grace(ctx, true));
  auto file = files_.find(gfid);
  if (file == files_.end()) {
    CO_TRY(co_await below_->getattr(ctx, gfid));
    file = files_.find(gfid);
  }
  const HeldLock* held =
      file == files_.end() ? nullptr : file->second.table.conflict({ctx.session, wanted.owner}, wanted);
  if (held) co_return held->lock;
  co_return unlock_of(wanted);
}

Task<Result<void>> LocksLayer::set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) {
  CO_TRY(FileLock wanted, checked(ctx, lock));
  const LockOwner owner{ctx.session, wanted.owner};
  const bool is_unlock = wanted.type == FileLock::Type::kUnlock;
  if (!is_unlock) {
    CO_TRY(co_await wait_for_grace(ctx, wait));
    // Only files that exist get a table: its size is bounded by what the brick holds.
    if (!files_.contains(gfid)) {
      CO_TRY(co_await below_->getattr(ctx, gfid));
    }
  }
  CO_TRY(check_limits(gfid, wanted));
  auto file = files_.find(gfid);
  if (is_unlock && file == files_.end()) co_return Result<void>();
  if (file == files_.end()) file = files_.try_emplace(gfid).first;
  if (!is_unlock && wanted.kind == FileLock::Kind::kFlock && file->second.table.conflict(owner, wanted)) {
    // A flock that changes its type lets go of the old one first, as in Linux: two that upgrade a shared lock
    // would wait for each other for ever otherwise.
    grant(file->second, owner, unlock_of(wanted));
    settle(gfid);
    file = files_.try_emplace(gfid).first;
  }
  if (is_unlock || !file->second.table.conflict(owner, wanted)) {
    grant(file->second, owner, wanted);
    settle(gfid);
    co_return Result<void>();
  }
  if (!wait) co_return Error(EAGAIN);
  auto waiting = std::make_shared<Waiting>(gfid, owner, wanted);
  if (wanted.kind == FileLock::Kind::kPosix && would_deadlock(*waiting)) co_return Error(EDEADLK);
  if (waiting_.size() >= options_.max_waiting)
    co_return Error(ENOLCK).with("{} requests wait for locks", waiting_.size());
  file->second.queue.push_back(waiting);
  waiting_.emplace(owner, waiting);
  co_return co_await wait_for_lock(std::move(waiting));
}

Task<Result<void>> LocksLayer::wait_for_lock(std::shared_ptr<Waiting> waiting) {
  using Outcome = Waiting::Outcome;
  while (waiting->outcome == Outcome::kPending) {
    Result<void> woken = co_await waiting->changed.wait();
    if (!woken && waiting->outcome == Outcome::kPending) {
      leave_queue(waiting);
      settle(waiting->gfid);
      co_return std::move(woken);
    }
  }
  // `this` may be gone when the outcome is kCancelled. A lock that was granted while the wait was being
  // cancelled is held: the answer must say so.
  if (waiting->outcome == Outcome::kCancelled) co_return Error(ECANCELED);
  if (waiting->outcome == Outcome::kGone) co_return Error(EIO).with("the brick of this file has failed");
  co_return Result<void>();
}

Task<Result<void>> LocksLayer::end_session(const OpContext& ctx) {
  const std::uint32_t session = ctx.session;
  std::vector<std::shared_ptr<Waiting>> left;
  for (auto at = waiting_.lower_bound({session, 0}); at != waiting_.end() && at->first.session == session;
       ++at)
    left.push_back(at->second);
  for (auto& waiting : left) {
    leave_queue(waiting);
    waiting->end(Waiting::Outcome::kCancelled);
  }
  std::vector<Gfid> changed;
  for (auto& [gfid, file] : files_) {
    locks_held_ -= file.table.size();
    if (file.table.drop_session(session) || file.table.empty()) changed.push_back(gfid);
    locks_held_ += file.table.size();
  }
  for (Gfid gfid : changed) settle(gfid);
  co_return co_await below_->end_session(ctx);
}

std::vector<LocksLayer::Listed> LocksLayer::list(std::size_t most) const {
  std::vector<Listed> listed;
  for (const auto& [gfid, file] : files_) {
    for (const auto& held : file.table.held()) {
      if (listed.size() >= most) return listed;
      listed.push_back({gfid, held, false});
    }
    for (const auto& waiting : file.queue) {
      if (listed.size() >= most) return listed;
      listed.push_back({gfid, {waiting->owner, waiting->lock}, true});
    }
  }
  return listed;
}

// --- helpers

Result<void> LocksLayer::check_limits(Gfid gfid, const FileLock& lock) const {
  // An unlock may split one lock in two, but refusing it would keep others waiting: it is let through.
  if (lock.type == FileLock::Type::kUnlock) return {};
  auto file = files_.find(gfid);
  const std::size_t here = file == files_.end() ? 0 : file->second.table.size();
  if (here >= options_.max_locks_per_file) return Error(ENOLCK).with("{} locks on one file", here);
  if (locks_held_ >= options_.max_locks) return Error(ENOLCK).with("{} locks held", locks_held_);
  return {};
}

bool LocksLayer::would_deadlock(const Waiting& request) const {
  std::set<LockOwner> seen;
  std::vector<LockOwner> open = files_.at(request.gfid).table.blockers(request.owner, request.lock);
  while (!open.empty()) {
    const LockOwner owner = open.back();
    open.pop_back();
    if (owner == request.owner) return true;
    if (!seen.insert(owner).second) continue;
    auto [from, to] = waiting_.equal_range(owner);
    for (auto at = from; at != to; ++at) {
      const Waiting& other = *at->second;
      if (other.lock.kind != FileLock::Kind::kPosix) continue;
      for (const LockOwner& next : files_.at(other.gfid).table.blockers(other.owner, other.lock))
        open.push_back(next);
    }
  }
  return false;
}

void LocksLayer::grant(File& file, const LockOwner& owner, const FileLock& lock) {
  locks_held_ -= file.table.size();
  file.table.set(owner, lock);
  locks_held_ += file.table.size();
}

void LocksLayer::settle(Gfid gfid) {
  auto at = files_.find(gfid);
  if (at == files_.end()) return;
  File& file = at->second;
  for (auto next = file.queue.begin(); next != file.queue.end();) {
    std::shared_ptr<Waiting> waiting = *next++;
    if (file.table.conflict(waiting->owner, waiting->lock)) continue;
    grant(file, waiting->owner, waiting->lock);
    leave_queue(waiting);
    waiting->end(Waiting::Outcome::kGranted);
  }
  if (file.table.empty() && file.queue.empty()) files_.erase(at);
}

void LocksLayer::leave_queue(const std::shared_ptr<Waiting>& waiting) {
  auto file = files_.find(waiting->gfid);
  if (file != files_.end()) file->second.queue.remove(waiting);
  auto [from, to] = waiting_.equal_range(waiting->owner);
  for (auto at = from; at != to; ++at) {
    if (at->second != waiting) continue;
    waiting_.erase(at);
    return;
  }
}

}  // namespace polder
