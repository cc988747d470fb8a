// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: open handles, and unlinked objects that live as long as one of them.
#include <fcntl.h>

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
  auto attr = co_await on_worker(short_work_, [&]() -> Result<FileAttr> {
    TRY(auto before, store_.attr(gfid));
    TRY(check_open(before, flags));
    if (!truncate) return before;
    record = begin(ctx, RecordKind::kTruncate, gfid);
    TRY(commit(record));
    return attr_after(gfid);
  });
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
  auto reaped = co_await on_worker(short_work_, [&] { return store_.reap(gfid); });
  if (reaped) orphans_.erase(gfid);
  co_return reaped;
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

Task<Result<KeyLocks::Guard>> OrderingLayer::hold_reaping() {
  Keys keys{reaping_key(KeyLocks::Mode::kExclusive)};
  co_return co_await locks_.lock(std::move(keys));
}

}  // namespace polder
