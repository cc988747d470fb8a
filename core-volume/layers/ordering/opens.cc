// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: open handles, and unlinked objects that live as long as one of them.
#include <fcntl.h>

#include "base/concurrency_impl.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

Task<Result<Opened>> OrderingLayer::open(const OpContext& ctx, Gfid gfid, int flags) {
  bool truncate = flags & O_TRUNC;
  // The key is held until the handle is known: whoever removes the last name must see it.
  Keys keys{object_key(gfid, truncate ? KeyLocks::Mode::kExclusive : KeyLocks::Mode::kShared)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  if (done_before(ctx)) truncate = false;
  Record record;
  auto work = [&]() -> Result<FileAttr> {
    TRY(auto before, store_.attr(gfid));
    TRY(check_open(before, flags));
    if (!truncate) return before;
    record = begin(ctx, RecordKind::kTruncate, gfid);
    TRY(commit(record));
    return attr_after(gfid);
  };
  const bool is_long = truncate && co_await frees_much(gfid, 0);
  auto attr = is_long ? co_await on_worker(seams_.workers, work) : co_await on_worker(short_work_, work);
  finish(ctx, record);
  if (!attr) co_return std::move(attr).error();
  co_return Opened{.attr = *attr, .handle = opens_.add(ctx.session, gfid), .created = false};
}

Task<Result<void>> OrderingLayer::release(const OpContext& ctx, Gfid gfid, HandleId handle) {
  if (opens_.remove(ctx.session, gfid, handle)) co_await reap_if_orphan(gfid);
  co_return Result<void>();
}

Task<Result<void>> OrderingLayer::end_session(const OpContext& ctx) {
  auto closed = opens_.remove_session(ctx.session);
  retries_.end_session(ctx.session);
  session_index_.erase(ctx.session);
  for (const auto& gfid : closed) co_await reap_if_orphan(gfid);
  co_return Result<void>();
}

bool OrderingLayer::must_stay(const Gfid& gfid) const {
  return !gfid.is_nil() && (awaits_clients() || opens_.is_open(gfid) || data_sync_.log_lacks_bytes(gfid));
}

Task<void> OrderingLayer::orphaned(Gfid gfid, std::uint64_t removed_by) {
  orphans_.insert(gfid);
  if (data_sync_.log_lacks_bytes(gfid)) kept_until_[gfid] = removed_by;
  // Its last handle may have gone while the name did, when it was no orphan yet.
  if (!opens_.is_open(gfid)) co_await reap_if_orphan(gfid);
}

Task<void> OrderingLayer::reap_if_orphan(Gfid gfid) {
  if (!orphans_.contains(gfid)) co_return;
  auto reaped = co_await reap(gfid);
  if (reaped) co_return;
  log::warning("orphan {} of brick {}: {}; it will be tried again", gfid.hex(), store_.path(),
               reaped.error().message());
  unreaped_.insert(gfid);
}

/// Now and then.
Task<void> OrderingLayer::reap_again() {
  const auto again = std::exchange(unreaped_, {});
  for (const auto& gfid : again) co_await reap_if_orphan(gfid);
}

/// Removes an orphan unless somebody has it open, or may come back for it after a restart of the daemon.
Task<Result<void>> OrderingLayer::reap(Gfid gfid) {
  if (awaits_clients()) co_return Result<void>();                    // reap_after_grace() will
  if (!settled_) co_return Result<void>();                           // the same
  if (orphans_to_compare_.contains(gfid)) co_return Result<void>();  // release_orphans() will
  if (is_replaced(gfid)) co_return Result<void>();                   // forget_stable_replaced() will
  if (auto kept = kept_until_.find(gfid); kept != kept_until_.end()) {
    if (kept->second > journal_.stable_index()) co_return Result<void>();  // reap_replaced() will
    kept_until_.erase(kept);
  }
  Keys keys{object_key(gfid, KeyLocks::Mode::kExclusive), reaping_key(KeyLocks::Mode::kShared)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  if (opens_.is_open(gfid) || !orphans_.contains(gfid)) co_return Result<void>();
  ++reaping_;
  auto reaped = co_await on_worker(seams_.workers, [&] { return store_.reap(gfid); });
  --reaping_;
  ++reaped_;
  space_.freed();
  reaped_some_.notify_all();
  if (reaped) orphans_.erase(gfid);
  co_return reaped;
}

/// What was removed takes room until its removal is in the log for certain, and the file system its time to
/// free it. The asking operation holds locks, and a removal may wait for one of them: so not for long.
Task<bool> OrderingLayer::more_is_reaped(std::uint64_t before) {
  constexpr nanoseconds kPatience = std::chrono::milliseconds(500);
  if (reaped_ == before && kept_until_.empty() && reaping_ == 0) co_return false;
  const auto deadline = seams_.clock.boot_time() + kPatience;
  auto synced = co_await on_worker(seams_.workers, [&] { return journal_.sync(); });
  if (!synced) co_return false;  // sync_loop() says so
  if (!kept_until_.empty()) background_.spawn(co_await asio::this_coro::executor, reap_replaced());
  while (reaped_ == before) {
    if (!co_await with_deadline(seams_.clock, deadline, reaped_some_.wait())) co_return false;
  }
  co_return true;
}

/// After the log was synced.
Task<void> OrderingLayer::reap_replaced() {
  std::vector<Gfid> stable;
  for (const auto& [gfid, index] : kept_until_)
    if (index <= journal_.stable_index()) stable.push_back(gfid);
  for (const auto& gfid : stable) co_await reap_if_orphan(gfid);
}

Task<void> OrderingLayer::release_orphans() {
  const auto compared = std::exchange(orphans_to_compare_, {});
  for (const auto& gfid : compared) co_await reap_if_orphan(gfid);
}

bool OrderingLayer::is_large(const FileAttr& file) {
  constexpr std::uint64_t kLarge_bytes = 16 << 20;
  return S_ISREG(file.mode) && file.size >= kLarge_bytes;
}

bool OrderingLayer::takes_large(const Record& record) const {
  if (!record.last_link || !store_.owns(record.victim())) return false;
  auto victim = store_.attr(record.victim());
  return victim && is_large(*victim);
}

Task<bool> OrderingLayer::frees_much(Gfid gfid, std::uint64_t size) {
  co_return co_await on_worker(short_work_, [&] {
    auto before = store_.attr(gfid);
    if (!before || before->size <= size) return false;
    before->size -= size;
    return is_large(*before);
  });
}

Task<Result<KeyLocks::Guard>> OrderingLayer::hold_reaping() {
  Keys keys{reaping_key(KeyLocks::Mode::kExclusive)};
  co_return co_await locks_.lock(std::move(keys));
}

}  // namespace polder
