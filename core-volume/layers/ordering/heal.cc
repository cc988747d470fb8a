// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: a change that is in the log and that the file system refuses: no room, as a rule.
//
// Before the log grows, check_space() has seen room. Where that was not enough, the reserve is given back and
// the change tried once more. If that fails too the change is taken back by a record that undoes it; if even
// that fails, the brick takes no changes until heal() has brought the file system and the log together, once
// there is room.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/layer/no_room.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

/// Records that give room back, or take none, may use the reserve to get into the log.
Result<std::uint64_t> OrderingLayer::append_record(Record& record) {
  auto index = journal_.append(record);
  const bool takes_room = record.kind == RecordKind::kWrite || record.kind == RecordKind::kCreate ||
                          record.kind == RecordKind::kFallocate;
  if (index || !is_no_room(index.error()) || takes_room || !reserve_.release()) return index;
  return journal_.append(record);
}

/// Whether a change that failed like this should be tried once more.
bool OrderingLayer::made_room(const Record& record, const Error& why) {
  if (!is_no_room(why)) return false;
  space_.forget();
  return record.kind != RecordKind::kWrite && reserve_.release();
}

/// The bytes in a write's record are not, or not all, in the file. Whoever follows the log has written them:
/// he is told to look at what is there. With the write's time, as the store has set it. The first of these
/// records has the write's sequence: it takes it out of the retry table.
Result<void> OrderingLayer::take_back_bytes(const Record& failed) {
  TRY(const auto size, store_.size(failed.gfid));
  const auto end = failed.offset + failed.length;
  OpContext operation{.session = failed.session, .sequence = failed.sequence};
  auto correction = [&](RecordKind kind, std::uint64_t offset, std::uint64_t length) -> Result<void> {
    auto record = begin(std::exchange(operation, {}), kind, failed.gfid);
    record.offset = offset;
    record.length = length;
    record.time_ns = failed.time_ns;
    return commit(record);
  };
  if (size < end) {
    TRY(correction(RecordKind::kTruncate, 0, size));
  }
  if (size <= failed.offset) return {};
  return correction(RecordKind::kWrite, failed.offset, std::min(size, end) - failed.offset);
}

void OrderingLayer::break_at(Unsettled unsettled, const Error& why) {
  log::error("brick {} takes no changes until record {} ({}) can be {}: {}", store_.path(),
             unsettled.record.index, to_string(unsettled.record.kind),
             unsettled.inverse ? "undone" : "applied", why.message());
  std::lock_guard lock(unsettled_mutex_);
  broken_why_ = is_no_room(why) ? why.code() : EIO;
  broken_at_ = unsettled.record.index;
  unsettled_.push_back(std::move(unsettled));
}

Result<void> OrderingLayer::settle_record(Unsettled& unsettled) {
  if (unsettled.inverse) {
    Record& inverse = *unsettled.inverse;
    if (inverse.index == 0) {
      inverse.hlc = seams_.hlc.next();
      inverse.time_ns = inverse.hlc.ns;
      TRY(inverse.index, journal_.append(inverse));
    }
    TRY(store_.apply(inverse));
    TRY(journal_.applied(unsettled.record.index));
    return journal_.applied(inverse.index);
  }
  if (!unsettled.happened) {
    // Its name may have been opened since: whoever did keeps the object.
    TRY(store_.apply(unsettled.record, {.keep_object = true, .note_replaced = true}));
    unsettled.happened = true;
  }
  return journal_.applied(unsettled.record.index);
}

/// No change is under way that could meet these: those that were when the brick broke hold other keys, and
/// new ones are refused.
Result<std::vector<Record>> OrderingLayer::heal_on_worker() {
  std::lock_guard lock(unsettled_mutex_);
  std::vector<Record> applied;
  while (!unsettled_.empty()) {
    Unsettled& first = unsettled_.front();
    TRY(settle_record(first).with("settle record {}", first.record.index));
    log::info("brick {}: record {} ({}) is {} now", store_.path(), first.record.index,
              to_string(first.record.kind), first.inverse ? "undone" : "applied");
    if (!first.inverse) applied.push_back(first.record);
    if (first.inverse) applied.push_back(*first.inverse);
    unsettled_.pop_front();
  }
  broken_at_ = 0;
  return applied;
}

Task<void> OrderingLayer::heal() {
  auto room = co_await on_worker(seams_.workers, [&] { return reserve_.refill(); });
  if (!room) log::debug("reserve of brick {}: {}", store_.path(), room.error().message());
  if (broken_at_ == 0 || abandoned_) co_return;
  auto healed = co_await on_worker(seams_.workers, [&] { return heal_on_worker(); });
  if (!healed) {
    log::debug("brick {} is not healed yet: {}", store_.path(), healed.error().message());
    co_return;
  }
  log::info("brick {} takes changes again", store_.path());
  dirty_ = true;
  appended_.notify_all();
  for (const auto& record : *healed) {
    tell(record, 0);
    hold_replaced(record);
    if (record.kind == RecordKind::kUnlink && record.last_link) co_await orphaned(record.gfid, record.index);
    if (!record.displaced.is_nil()) co_await orphaned(record.displaced, record.index);
  }
}

}  // namespace polder
