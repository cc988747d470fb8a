// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/brick.h"

#include <fcntl.h>

#include "base/hlc.h"
#include "base/on_worker.h"
#include "core-volume/graph/restore_marker.h"

namespace polder {

Brick::Brick(Seams& seams, BrickConfig config, std::unique_ptr<Store> store, std::unique_ptr<Journal> journal)
    : seams_(seams),
      config_(std::move(config)),
      store_(std::move(store)),
      journal_(std::move(journal)),
      ordering_(seams, *journal_, *store_, config_.ordering, config_.placement, config_.peers),
      barrier_(ordering_, seams.clock),
      locks_(barrier_, seams.clock),
      stats_(locks_, seams.clock) {
  store_->on_failed_sync([this] { journal_->sync_failed(); });
}

Result<void> Brick::format(Seams& seams, const std::string& path, const BrickIdentity& identity) {
  return Store::format(seams.disk, path, identity, seams.hlc.next().ns);
}

Task<Result<std::unique_ptr<Brick>>> Brick::start(Seams& seams, BrickConfig config) {
  std::unique_ptr<Store> store;
  std::unique_ptr<Journal> journal;
  DiskFile place;
  CO_TRY(co_await on_worker(seams.workers, [&]() -> Result<void> {
    StoreOptions options{.volume = config.volume,
                         .brick = config.brick,
                         .open_files = config.open_files,
                         .placement = config.placement};
    TRY(store, Store::open(seams.disk, config.path, options));
    JournalIdentity identity{store->identity().lineage, store->identity().set, config.term};
    auto opened = Journal::open(seams, config.path + "/" + layout::kChangelog, identity, config.journal);
    if (!opened) return std::move(opened).error().with("log of brick {}", config.path);
    journal = std::move(*opened);
    TRY(place, seams.disk.open(Disk::kNoDir, config.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return {};
  }));
  const bool had_clients = journal->appended_index() != 0;
  std::unique_ptr<Brick> brick(new Brick(seams, std::move(config), std::move(store), std::move(journal)));
  brick->place_ = std::move(place);
  CO_TRY(co_await brick->ordering_.start());
  auto settled = co_await on_worker(
      seams.workers, [&] { return settle_restore(seams.disk, brick->config_.path, *brick->journal_); });
  if (!settled) {
    (void)co_await brick->ordering_.stop();  // the reason why it does not start says more
    co_return std::move(settled).error();
  }
  if (had_clients && brick->config_.lock_grace.count() > 0)
    brick->locks_.start_grace(brick->config_.lock_grace);
  co_return brick;
}

namespace {

constexpr const char* kHealth = ".polder/health";

/// EIO unless `path` still is the directory that is open as `root`: what it is on may be unmounted.
Result<void> check_place(Disk& disk, const std::string& path, int root) {
  TRY(auto now, disk.stat(Disk::kNoDir, path).with("look at brick {}", path));
  TRY(auto then, disk.fstat(root).with("look at brick {}", path));
  if (now.st_dev == then.st_dev && now.st_ino == then.st_ino) return {};
  return Error(EIO).with("{} is not the brick's directory any more; is its file system mounted?", path);
}

/// What is in the page cache proves nothing of the disk. A full one is well.
Result<void> try_disk(Disk& disk, int root) {
  auto file = disk.open(root, kHealth, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
  auto written = file ? disk.pwrite(file->fd(), as_bytes("1"), 0) : Result<void>(file.error());
  if (written) written = disk.fdatasync(file->fd());
  if (written.failed_with(ENOSPC) || written.failed_with(EDQUOT)) return {};
  return std::move(written).with("write to {}", kHealth);
}

}  // namespace

Task<Result<void>> Brick::check(bool write) {
  co_return co_await on_worker(seams_.workers, [&] { return check_on_worker(write); });
}

Result<void> Brick::check_on_worker(bool write) {
  TRY(check_place(seams_.disk, config_.path, place_.fd()));
  TRY(journal_->sync().with("log of brick {}", config_.path));
  if (!write) return {};
  return try_disk(seams_.disk, place_.fd()).with("brick {}", config_.path);
}

Task<Result<void>> Brick::stop() {
  CO_TRY(co_await ordering_.stop());
  co_return co_await on_worker(seams_.workers, [&] { return store_->mark_clean(); });
}

}  // namespace polder
