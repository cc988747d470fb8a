// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: records that another volume decided. Each gets an index of this log and keeps its time_ns.
#include "base/hlc.h"
#include "base/on_worker.h"
#include "core-volume/layer/record_rules.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {
namespace {

/// Records of one trip to a worker: their keys are held together.
constexpr std::size_t kBatch = 64;

}  // namespace

Task<Result<void>> OrderingLayer::replay(const OpContext& ctx, std::span<const Record> records) {
  // All of them before the first: a call that is refused has changed nothing.
  for (const auto& record : records) {
    CO_TRY(check_replayable(record));
  }
  while (!records.empty()) {
    const auto batch = records.first(std::min(kBatch, records.size()));
    records = records.subspan(batch.size());
    std::vector<Record> copies(batch.begin(), batch.end());
    Keys keys;
    for (auto& record : copies) {
      record.session = 0;
      record.sequence = 0;
      std::ranges::move(polder::keys_of(record), std::back_inserter(keys));
    }
    CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
    std::vector<ApplyHints> hints;
    for (const auto& record : copies) hints.push_back({.keep_object = must_stay(record.victim())});
    auto replayed = co_await on_worker(seams_.workers, [&] { return replay_on_worker(copies, hints); });
    const auto orphans = orphans_of(copies, hints);
    held.release();
    for (const auto& record : copies) finish(ctx, record);
    for (const auto& [gfid, removed_by] : orphans) co_await orphaned(gfid, removed_by);
    if (!replayed) co_return replayed;
  }
  co_return Result<void>();
}

/// What these records have left without a name and open, with the record that removed it. What they make
/// again is no orphan any more, though its name may come only with a later call. While the objects' keys are
/// held.
std::map<Gfid, std::uint64_t> OrderingLayer::orphans_of(const std::vector<Record>& records,
                                                        const std::vector<ApplyHints>& hints) {
  std::map<Gfid, std::uint64_t> orphans;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto& record = records[i];
    if (record.index == 0) continue;  // it was not done
    if (record.kind == RecordKind::kCreate) {
      orphans.erase(record.gfid);
      orphans_.erase(record.gfid);
      kept_until_.erase(record.gfid);
    } else if (record.last_link && hints[i].keep_object) {
      orphans[record.victim()] = record.index;
    }
  }
  return orphans;
}

Result<void> OrderingLayer::replay_on_worker(std::vector<Record>& records,
                                             const std::vector<ApplyHints>& hints) {
  for (auto& record : records) record.index = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    auto& record = records[i];
    bool made_again = false;
    if (record.kind == RecordKind::kCreate) {
      auto there = store_.attr(record.gfid);
      made_again = there.has_value();
      if (there && (there->mode ^ record.state.mode) & S_IFMT)
        return Error(EINVAL).with("object {} is of another type than its record says", record.gfid.hex());
    }
    TRY(check_space(record.data.size()));
    // What happens here later must be later than this, also by its time.
    // But one wrong clock must not drag this one along: its stamps stay what they are.
    (void)seams_.hlc.observe({record.time_ns});
    record.hlc = seams_.hlc.next();
    Applying applying{.apply = {}, .hints = hints[i], .undo = {}};
    // Large data stay out of the log here as elsewhere: a write that was cut off is replayed by whoever sent
    // it.
    const Buffer data = record.data;
    if (record.kind == RecordKind::kWrite && data.size() > options_.inline_data_bytes) {
      record.data = {};
      applying.apply = [this, &data](const Record& write) { return store_.apply_write(write, data.bytes()); };
    }
    TRY(commit(record, applying));
    if (made_again) {
      TRY(store_.unmark_orphan(record.gfid));
    }
  }
  return {};
}

}  // namespace polder
