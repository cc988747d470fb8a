// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: looking. No key locks: the store shows no half change.
#include "base/loop_watch.h"
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

namespace {

constexpr auto kFetchMax = std::chrono::microseconds(500);

}  // namespace

Task<Result<FileAttr>> OrderingLayer::lookup(const OpContext&, Gfid parent, std::string_view name) {
  CO_TRY(check_name(name));
  EntryName entry{parent, std::string(name)};
  if (hidden_.any()) {
    CO_TRY(co_await until_shown(name_key(parent, name).key));
  }
  auto attr = co_await on_worker(short_work_, [&] { return store_.lookup(parent, entry.name); });
  if (attr) hints_.learn(entry, {attr->gfid, attr->is_directory()});
  co_return attr;
}

Task<Result<FileAttr>> OrderingLayer::getattr(const OpContext&, Gfid gfid) {
  co_return co_await attr_on_worker(gfid);
}

Task<Result<std::string>> OrderingLayer::readlink(const OpContext&, Gfid gfid) {
  co_return co_await on_worker(short_work_, [&] { return store_.readlink(gfid); });
}

Task<Result<DirectoryPage>> OrderingLayer::readdir(const OpContext&, Gfid gfid, std::uint64_t cookie,
                                                   std::uint32_t max_entries, bool with_attributes) {
  if (hidden_.any()) {
    CO_TRY(co_await until_shown(object_key(gfid, KeyLocks::Mode::kShared).key));
  }
  co_return co_await on_worker(seams_.workers,
                               [&] { return store_.list(gfid, cookie, max_entries, with_attributes); });
}

Task<Result<VolumeSpace>> OrderingLayer::statfs(const OpContext&) {
  co_return co_await on_worker(short_work_, [&] { return store_.statfs(); });
}

Task<Result<std::string>> OrderingLayer::getxattr(const OpContext&, Gfid gfid, std::string_view key) {
  co_return co_await on_worker(short_work_, [&]() -> Result<std::string> {
    TRY(store_.attr(gfid));
    TRY(check_xattr_key(key));
    return store_.get_xattr(gfid, std::string(key));
  });
}

Task<Result<std::vector<std::string>>> OrderingLayer::listxattr(const OpContext&, Gfid gfid) {
  co_return co_await on_worker(short_work_, [&] { return store_.list_xattr(gfid); });
}

/// EBADF, unless something more telling is wrong with the object.
Task<Result<void>> OrderingLayer::refuse_handle(Gfid gfid) {
  CO_TRY(auto attr, co_await attr_on_worker(gfid));
  CO_TRY(check_data_object(attr));
  co_return Error(EBADF);
}

/// Asking for what is not cached has made the kernel fetch it. A fast disk has it before a worker is awake
/// that would wait for it, so the loop asks again while it is busy anyway. EAGAIN: not yet, or it went to
/// sleep.
Task<void> OrderingLayer::fetch(Gfid gfid, std::uint64_t offset, std::uint32_t length,
                                Result<Buffer>& cached) {
  const auto until = seams_.clock.boot_time() + kFetchMax;
  const bool looked = co_await LoopWatch::of(co_await asio::this_coro::executor).found_in_line(this, [&] {
    cached = store_.read_cached(gfid, offset, length);
    return !cached.failed_with(EAGAIN) || seams_.clock.boot_time() > until;
  });
  if (looked) fetch_patience_.waited(!cached.failed_with(EAGAIN));
}

Task<Result<Buffer>> OrderingLayer::read(const OpContext& ctx, Gfid gfid, HandleId handle,
                                         std::uint64_t offset, std::uint32_t length) {
  bool inside = ctx.session == 0 && handle == 0;
  if (!inside && !opens_.has(ctx.session, gfid, handle)) {
    CO_TRY(co_await refuse_handle(gfid));
  }
  if (length <= kShortTransferMax_bytes && short_work_.runs_here()) {
    auto cached = co_await on_worker(short_work_, [&] { return store_.read_cached(gfid, offset, length); });
    if (cached.failed_with(EAGAIN) && fetch_patience_.wait_now())
      co_await fetch(gfid, offset, length, cached);
    if (!cached.failed_with(EAGAIN)) co_return cached;
  }
  co_return co_await on_worker(seams_.workers, [&] { return store_.read(gfid, offset, length); });
}

Task<Result<std::uint64_t>> OrderingLayer::seek(const OpContext&, Gfid gfid, std::uint64_t offset,
                                                int whence) {
  co_return co_await on_worker(short_work_, [&] { return store_.seek(gfid, offset, whence); });
}

Task<Result<FileLock>> OrderingLayer::test_lock(const OpContext&, Gfid, const FileLock&) {
  co_return Error(ENOSYS).with("locks need a locks layer above");
}

Task<Result<void>> OrderingLayer::set_lock(const OpContext&, Gfid, const FileLock&, bool) {
  co_return Error(ENOSYS).with("locks need a locks layer above");
}

Task<Result<void>> OrderingLayer::fsync(const OpContext& ctx, Gfid gfid, bool data_only) {
  if (!peers_) co_return co_await sync_object(gfid, data_only);
  // At once: each waits for a disk of its own.
  auto syncs = peers_->sync_session(ctx.session, set());
  syncs.push_back(sync_object(gfid, data_only));
  auto outcomes = co_await fan_out(std::move(syncs));
  for (auto& outcome : outcomes)
    if (!outcome) co_return std::move(outcome);
  co_return Result<void>();
}

Task<Result<void>> OrderingLayer::sync_object(Gfid gfid, bool data_only) {
  co_return co_await on_worker(seams_.workers, [&]() -> Result<void> {
    const auto plan = data_sync_.plan(gfid);
    if (!plan.file) {
      TRY(store_.attr(gfid));  // whether there is such an object
      return journal_.sync();
    }
    // Bytes first: once the log is stable, whatever it says of them must be on disk.
    TRY(store_.fsync(gfid, data_only, journal_.checkpoint_index()));
    TRY(journal_.sync());
    data_sync_.synced(gfid, plan);
    return {};
  });
}

Task<Result<void>> OrderingLayer::sync(const OpContext&) {
  co_return co_await on_worker(seams_.workers, [&]() -> Result<void> {
    const auto mark = data_sync_.mark();
    TRY(store_.syncfs());
    data_sync_.everything_synced(mark);
    return journal_.sync();
  });
}

}  // namespace polder
