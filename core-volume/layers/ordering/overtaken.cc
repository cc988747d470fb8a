// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: decisions that come too late. A set that is away after a power loss may have kept what the
// others' logs have lost. They are used meanwhile, and what is changed there, perhaps synced, must not be
// undone by what is older and was not: such a decision does not happen any more where it has not yet.
// What is left of it elsewhere is mended (core-volume/graph/reconcile.h).
//
// A change contradicts an older decision when it gave or took one of its names, had to do with the object
// that the decision takes a name from for good, removed the directory where it gives one, or moved a
// directory when the decision does, too.
#include <algorithm>

#include "base/coro.h"
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {
namespace {

/// What the record takes a name from without giving another.
Gfid removed_by(const Record& record) {
  if (record.kind == RecordKind::kUnlink) return record.gfid;
  return record.kind == RecordKind::kRename && !record.exchange ? record.displaced : Gfid();
}

bool moves_directory(const Record& record) {
  return record.kind == RecordKind::kRename && record.name.parent != record.to.parent &&
         (S_ISDIR(record.tx.mode) || S_ISDIR(record.tx.displaced_mode));
}

/// Of a comparison while a set was away: it made what was there whole, and knew of no change.
bool is_repair(const Record& record) {
  return record.session == 0 && record.tx.phase == TxPhase::kDecided && record.tx.sets.size() == 1;
}

class Overtaken {
 public:
  explicit Overtaken(const std::vector<Record>& decided) {
    for (const auto& record : decided) {
      for (const auto* name : {&record.name, &record.to}) {
        if (name->parent.is_nil()) continue;
        names_.emplace(*name, &record);
        directories_.emplace(name->parent, &record);
      }
      if (auto gfid = removed_by(record); !gfid.is_nil()) removed_.emplace(gfid, &record);
      if (moves_directory(record)) moves_.push_back(&record);
    }
  }

  void see(const Record& change) {
    if (change.tx.phase == TxPhase::kPrepared || is_repair(change)) return;
    for (const auto* name : {&change.name, &change.to}) {
      find(names_, *name, change);
      find(removed_, name->parent, change);
    }
    find(removed_, change.gfid, change);
    find(removed_, change.displaced, change);
    find(directories_, removed_by(change), change);
    if (!moves_directory(change)) return;
    for (const auto* decided : moves_) note(*decided, change);
  }

  std::set<TxId> result;

 private:
  template <typename Key>
  void find(const std::multimap<Key, const Record*>& decisions, const Key& key, const Record& change) {
    for (auto [at, end] = decisions.equal_range(key); at != end; ++at) note(*at->second, change);
  }
  /// Adopted ones among the changes have the time of their decision.
  void note(const Record& decided, const Record& change) {
    if (decided.time_ns < change.time_ns) result.insert(decided.tx.id);
  }

  std::multimap<EntryName, const Record*> names_;
  std::multimap<Gfid, const Record*> directories_, removed_;
  std::vector<const Record*> moves_;
};

}  // namespace

bool OrderingLayer::knows(const TxId& id) const {
  if (transactions_.is_done(id) || transactions_.prepared.contains(id)) return true;
  return id.set == set() && transactions_.decisions.contains(id.number);
}

Task<Result<std::set<TxId>>> OrderingLayer::overtaken(std::vector<Record> decided) {
  std::erase_if(decided, [&](const Record& record) {
    return std::ranges::find(record.tx.sets, set()) == record.tx.sets.end() || knows(record.tx.id);
  });
  const auto since = store_.suspect_since();
  if (decided.empty() || since >= journal_.appended_index()) co_return std::set<TxId>();
  co_return co_await on_worker(seams_.workers, [&] { return overtaken_since(since, decided); });
}

Result<std::set<TxId>> OrderingLayer::overtaken_since(std::uint64_t index,
                                                      const std::vector<Record>& decided) {
  Overtaken overtaken(decided);
  TRY(auto reader, journal_.read_from(std::max(journal_.first_index(), index + 1), true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return std::move(overtaken.result);
    overtaken.see(*record);
  }
}

}  // namespace polder
