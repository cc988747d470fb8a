// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: what a rename between sets has replaced. The log of this set may keep the rename, and the
// one of the new object's set lose it, with the object: until both are stable, the old object stays, and so
// does what the store has noted of its name (replaced.h).
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

/// Whether the rename takes the last name of an object of this set.
bool OrderingLayer::replaces_here(const Record& record) const {
  return record.kind == RecordKind::kRename && record.last_link && store_.owns(record.displaced);
}

/// Of a transaction: what it replaces stays until this log says so for certain. As long as none does, a power
/// loss may give it its name back.
bool OrderingLayer::victim_stays(const Record& record) const {
  return replaces_here(record) || must_stay(record.victim());
}

/// Before the record is applied; again when it has an index.
void OrderingLayer::hold_replaced(const Record& record) {
  if (record.kind != RecordKind::kRename || record.displaced.is_nil()) return;
  auto hold_name = [&](const Gfid& gfid, const Gfid& by) {
    if (!store_.owns(gfid) || store_.owns(by)) return;
    replaced_[{gfid, record.tx.id}] = {record.index == 0 ? UINT64_MAX : record.index, placement_->set_of(by)};
  };
  hold_name(record.displaced, record.gfid);
  if (record.exchange) hold_name(record.gfid, record.displaced);
  replaced_some_.notify_all();
  if (replaces_here(record) && record.index != 0) kept_until_[record.displaced] = record.index;
}

bool OrderingLayer::is_replaced(const Gfid& gfid) const {
  const auto at = replaced_.lower_bound({gfid, {}});
  return at != replaced_.end() && at->first.first == gfid;
}

Task<void> OrderingLayer::forget_replaced_loop() {
  while (true) {
    while (replaced_.empty()) {
      if (!co_await replaced_some_.wait()) co_return;
    }
    if (!co_await seams_.clock.sleep_for(options_.sync_interval)) co_return;
    auto forgotten = co_await forget_stable_replaced();
    if (forgotten) continue;
    log::warning("brick {}: {}; it will be tried again", store_.path(), forgotten.error().message());
    if (!co_await seams_.clock.sleep_for(options_.maintain_interval)) co_return;
  }
}

Task<Result<void>> OrderingLayer::forget_stable_replaced() {
  std::vector<ReplacedName> stable;
  for (const auto& [key, replaced] : replaced_) {
    if (replaced.index > journal_.stable_index()) continue;
    auto* by = peers_->peer(replaced.by_set);
    if (by && by->is_stable(key.second)) stable.push_back({.gfid = key.first, .tx = key.second});
  }
  CO_TRY(co_await forget_replaced(stable));
  for (const auto& name : stable) replaced_.erase({name.gfid, name.tx});
  for (const auto& name : stable) co_await reap_if_orphan(name.gfid);
  co_return Result<void>();
}

Task<Result<void>> OrderingLayer::forget_replaced(std::vector<ReplacedName> names) {
  if (names.empty()) co_return Result<void>();
  co_return co_await on_worker(seams_.workers, [&]() -> Result<void> {
    for (const auto& name : names) {
      TRY(store_.forget_replaced(name.gfid, name.tx));
    }
    return {};
  });
}

Task<Result<std::vector<ReplacedName>>> OrderingLayer::replaced_names(bool of_this_start) {
  CO_TRY(auto names, co_await on_worker(seams_.workers, [&] { return store_.replaced_names(); }));
  if (!of_this_start)
    std::erase_if(names, [&](const auto& name) { return replaced_.contains({name.gfid, name.tx}); });
  co_return names;
}

bool OrderingLayer::took_part(const TxId& id) const {
  if (is_closed(id)) return true;
  if (id.set == set()) return transactions_.decisions.contains(id.number);
  auto echo = transactions_.echoes.find(id);
  return echo != transactions_.echoes.end() && echo->second.kind != RecordKind::kTxAborted;
}

bool OrderingLayer::is_closed(const TxId& id) const {
  return transactions_.is_closed(id);
}

Task<Result<bool>> OrderingLayer::has_lost(Record decided) {
  if (!store_.is_suspect() || took_part(decided.tx.id)) co_return false;
  co_return co_await on_worker(short_work_, [&]() -> Result<bool> {
    TRY(bool lost, has_lost_object(decided));
    return lost ? lost : has_lost_name(decided);
  });
}

/// What is gone without any record of it went with the log's last moments. A directory that was exchanged for
/// it moves all the same: what was moved since may depend on where it is.
Result<bool> OrderingLayer::has_lost_object(const Record& decided) {
  if (decided.kind != RecordKind::kRename || decided.displaced.is_nil()) return false;
  std::vector<Gfid> needed;
  if (!decided.exchange || !S_ISDIR(decided.tx.displaced_mode)) needed.push_back(decided.gfid);
  if (decided.exchange && !S_ISDIR(decided.tx.mode)) needed.push_back(decided.displaced);
  for (const auto& gfid : needed) {
    if (!store_.owns(gfid)) continue;
    auto attr = store_.attr(gfid);
    if (attr.failed_with(ESTALE)) return true;
    if (!attr) return std::move(attr).error();
  }
  return false;
}

/// A name that the decision gives shows what was not there any more when it was made: how that had left the
/// name is lost, and this may be all that it has.
Result<bool> OrderingLayer::has_lost_name(const Record& decided) {
  auto shows_another = [&](const EntryName& name) -> Result<bool> {
    if (name.parent.is_nil() || !store_.owns(name.parent)) return false;
    auto there = store_.lookup(name.parent, name.name);
    if (there.failed_with(ENOENT) || there.failed_with(ESTALE)) return false;
    if (!there) return std::move(there).error();
    return there->gfid != decided.gfid && there->gfid != decided.displaced;
  };
  const bool is_rename = decided.kind == RecordKind::kRename;
  const bool gives_first =
      decided.kind == RecordKind::kCreate || decided.kind == RecordKind::kLink || decided.exchange;
  if (gives_first) {
    TRY(bool another, shows_another(decided.name));
    if (another) return true;
  }
  return is_rename ? shows_another(decided.to) : Result<bool>(false);
}

}  // namespace polder
