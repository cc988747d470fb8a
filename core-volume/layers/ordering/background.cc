// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: start, the sync tick, upkeep, orphans.
#include "base/concurrency_impl.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/layer/no_room.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

Task<Result<void>> OrderingLayer::start() {
  std::vector<Gfid> found;
  CO_TRY(co_await on_worker(seams_.workers, [&]() -> Result<void> {
    auto reserved = reserve_.refill();
    if (!reserved) log::warning("reserve of brick {}: {}", store_.path(), reserved.error().message());
    auto recovered = recover();
    if (!recovered && is_no_room(recovered.error()) && reserve_.release()) recovered = recover();
    TRY(std::move(recovered).with("recover brick {}", store_.path()));
    TRY(found, store_.orphans());
    return {};
  }));
  CO_TRY(co_await hold_prepared_again());
  orphans_.insert(found.begin(), found.end());
  if (!found.empty()) await_clients();
  auto executor = co_await asio::this_coro::executor;
  background_.spawn(executor, sync_loop());
  background_.spawn(executor, maintain_loop());
  if (peers_) background_.spawn(executor, close_loop());
  if (peers_) background_.spawn(executor, forget_replaced_loop());
  background_.spawn(executor, reap_after_grace());
  co_return Result<void>();
}

Task<Result<void>> OrderingLayer::stop() {
  co_await background_.stop();
  abandon();
  co_return co_await on_worker(seams_.workers, [&] { return journal_.sync(); });
}

/// Nothing stays un-synced for much longer than the interval, though nobody asks for it.
Task<void> OrderingLayer::sync_loop() {
  auto executor = co_await asio::this_coro::executor;
  while (true) {
    while (!dirty_) {
      auto waited = co_await appended_.wait();
      if (!waited) co_return;
    }
    auto slept = co_await seams_.clock.sleep_for(options_.sync_interval);
    if (!slept) co_return;
    dirty_ = false;
    auto synced = co_await on_worker(seams_.workers, [&] { return journal_.sync(); });
    if (!synced) log::error("log of brick {}: {}", store_.path(), synced.error().message());
    if (!kept_until_.empty()) background_.spawn(executor, reap_replaced());  // it may wait, this may not
  }
}

Task<void> OrderingLayer::maintain_loop() {
  while (true) {
    auto slept = co_await seams_.clock.sleep_for(options_.maintain_interval);
    if (!slept) co_return;
    auto maintained = co_await on_worker(seams_.workers, [&]() -> Result<void> {
      TRY(note_again());
      const auto mark = data_sync_.mark();
      const auto checkpoint = journal_.checkpoint_index();
      auto done = journal_.maintain();
      if (journal_.checkpoint_index() != checkpoint) {
        data_sync_.everything_synced(mark);
        data_sync_.checkpoint_moved(journal_.checkpoint_index());
      }
      return done;
    });
    auto moved = co_await move_transaction_cursor();
    if (!moved) log::warning("log of brick {}: {}", store_.path(), moved.error().message());
    co_await heal();
    co_await reap_again();
    if (dirty_) appended_.notify_all();  // by an operation that failed, and so told nobody
    if (!maintained) log::warning("log of brick {}: {}", store_.path(), maintained.error().message());
  }
}

void OrderingLayer::await_clients() {
  grace_end_ = seams_.clock.boot_time() + options_.orphan_grace;
  grace_changed_.notify_all();
}

void OrderingLayer::clients_are_back() {
  grace_end_ = std::min(grace_end_, seams_.clock.boot_time());
  grace_changed_.notify_all();
}

/// Nor before the sets have settled: until then the names of what has none here may be in question.
Task<void> OrderingLayer::reap_after_grace() {
  while (!settled_) {
    if (!co_await settling_.wait()) co_return;
  }
  while (true) {
    while (awaits_clients()) {
      auto told = co_await with_deadline(seams_.clock, grace_end_, grace_changed_.wait());
      if (!told && !told.failed_with(ETIMEDOUT)) co_return;
    }
    const auto over = grace_end_;
    const auto candidates = orphans_;
    for (const auto& gfid : candidates) co_await reap_if_orphan(gfid);
    while (grace_end_ == over) {
      if (!co_await grace_changed_.wait()) co_return;
    }
  }
}

}  // namespace polder
