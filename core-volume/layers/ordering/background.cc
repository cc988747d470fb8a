// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: start, recovery, the sync tick, upkeep, orphans.
#include "base/hlc.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

Task<Result<void>> OrderingLayer::start() {
  std::vector<Gfid> found;
  CO_TRY(co_await on_worker(seams_.workers, [&]() -> Result<void> {
    TRY(recover().with("recover brick {}", store_.path()));
    TRY(found, store_.orphans());
    return {};
  }));
  orphans_.insert(found.begin(), found.end());
  grace_end_ = seams_.clock.boot_time() + options_.orphan_grace;
  auto executor = co_await asio::this_coro::executor;
  background_.spawn(executor, sync_loop());
  background_.spawn(executor, maintain_loop());
  if (!orphans_.empty())
    background_.spawn(executor, reap_after_grace());
  else
    grace_end_ = {};
  co_return Result<void>();
}

Task<Result<void>> OrderingLayer::stop() {
  co_await background_.stop();
  co_return co_await on_worker(seams_.workers, [&] { return journal_.sync(); });
}

/// After kill -9: what was appended and not applied is applied now, and the tail after it is folded again,
/// since an old record applied late would set times back that newer ones have set (two names made in one
/// directory). Then the retry table, from the log.
Result<void> OrderingLayer::recover() {
  TRY(auto records, journal_.unapplied());
  std::set<std::uint64_t> unapplied, bytes_lost;
  for (const auto& record : records) {
    unapplied.insert(record.index);
    if (lost_bytes(record)) bytes_lost.insert(record.index);
  }
  if (!records.empty()) {
    TRY(auto reader, journal_.read_from(records.front().index, true));
    while (true) {
      TRY(auto record, reader->next());
      if (!record) break;
      TRY(redo(*record, unapplied.contains(record->index))
              .with("redo record {} ({})", record->index, to_string(record->kind)));
    }
    log::info("brick {}: redid {} records, {} to {}", store_.path(), records.size(), records.front().index,
              records.back().index);
  }
  return load_retries(bytes_lost);
}

/// A write whose bytes did not travel in the log.
bool OrderingLayer::lost_bytes(const Record& record) {
  return record.kind == RecordKind::kWrite && record.data.empty() && record.length != 0;
}

Result<void> OrderingLayer::redo(Record& record, bool unapplied) {
  // A large append that was killed on its way may have left some of its bytes. The client will send it again,
  // and it will be placed again: at the end that there was before it.
  if (unapplied && lost_bytes(record) && record.keep_size) {
    TRY(store_.cut_back(record.gfid, record.offset));
  }
  // Bytes that are there already may be newer than these: a later write may not have its bytes in the log.
  if (!unapplied && record.kind == RecordKind::kWrite) record.data = {};
  // Whatever was open may be opened again by its client.
  TRY(store_.apply(record, {.keep_object = true}));
  if (!unapplied) return {};
  return journal_.applied(record.index);
}

Result<void> OrderingLayer::load_retries(const std::set<std::uint64_t>& never_applied) {
  const auto last = journal_.appended_index();
  const auto tail = last > options_.retry_tail_records ? last - options_.retry_tail_records : 0;
  const auto first = std::max(journal_.first_index(), tail + 1);
  if (last == 0 || first > last) return {};
  TRY(auto reader, journal_.read_from(first, true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    seams_.hlc.observe_own(record->hlc);
    seams_.hlc.observe_own({record->time_ns});
    if (!never_applied.contains(record->index)) retries_.note(*record);
  }
}

/// Nothing stays un-synced for much longer than the interval, though nobody asks for it.
Task<void> OrderingLayer::sync_loop() {
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
  }
}

Task<void> OrderingLayer::maintain_loop() {
  while (true) {
    auto slept = co_await seams_.clock.sleep_for(options_.maintain_interval);
    if (!slept) co_return;
    auto maintained = co_await on_worker(seams_.workers, [&] { return journal_.maintain(); });
    if (dirty_) appended_.notify_all();  // by an operation that failed, and so told nobody
    if (!maintained) log::warning("log of brick {}: {}", store_.path(), maintained.error().message());
  }
}

Task<void> OrderingLayer::reap_after_grace() {
  auto slept = co_await seams_.clock.sleep_until(grace_end_);
  if (!slept) co_return;
  const auto candidates = orphans_;
  for (const auto& gfid : candidates) co_await reap_if_orphan(gfid);
}

}  // namespace polder
