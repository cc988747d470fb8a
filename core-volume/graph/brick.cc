// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/brick.h"

#include "base/hlc.h"
#include "base/on_worker.h"
#include "core-volume/graph/restore_marker.h"

namespace polder {

Brick::Brick(Seams& seams, BrickConfig config, std::unique_ptr<Store> store, std::unique_ptr<Journal> journal)
    : config_(std::move(config)),
      store_(std::move(store)),
      journal_(std::move(journal)),
      ordering_(seams, *journal_, *store_, config_.ordering),
      barrier_(ordering_, seams.clock),
      locks_(barrier_, seams.clock),
      stats_(locks_, seams.clock) {}

Result<void> Brick::format(Seams& seams, const std::string& path, const BrickIdentity& identity) {
  return Store::format(seams.disk, path, identity, seams.hlc.next().ns);
}

Task<Result<std::unique_ptr<Brick>>> Brick::start(Seams& seams, BrickConfig config) {
  std::unique_ptr<Store> store;
  std::unique_ptr<Journal> journal;
  CO_TRY(co_await on_worker(seams.workers, [&]() -> Result<void> {
    StoreOptions options{.volume = config.volume, .brick = config.brick, .open_files = config.open_files};
    TRY(store, Store::open(seams.disk, config.path, options));
    JournalIdentity identity{store->identity().lineage, store->identity().set, config.term};
    auto opened = Journal::open(seams, config.path + "/" + layout::kChangelog, identity, config.journal);
    if (!opened) return std::move(opened).error().with("log of brick {}", config.path);
    journal = std::move(*opened);
    return {};
  }));
  const bool had_clients = journal->appended_index() != 0;
  std::unique_ptr<Brick> brick(new Brick(seams, std::move(config), std::move(store), std::move(journal)));
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

Task<Result<void>> Brick::stop() {
  co_return co_await ordering_.stop();
}

}  // namespace polder
