// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: transactions that this set leads. From the decision on nothing can fail any more: what a set
// cannot take now, it gets when it can (closing.cc).
#include "core-volume/layers/ordering/lead.h"
#include "base/crash_point.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

OrderingLayer::Led::Led(OrderingLayer& layer, RecordKind kind) : layer_(layer) {
  record.kind = kind;
  record.tx.id = {layer.set(), layer.seams_.hlc.next().ns};
  layer_.transactions_.leading.insert(record.tx.id.number);
}

OrderingLayer::Led::~Led() {
  layer_.transactions_.leading.erase(record.tx.id.number);
  show();
}

void OrderingLayer::Led::show() {
  layer_.hidden_.show(hidden);
  hidden.clear();
  held.release();
}

Result<SetPeer*> OrderingLayer::peer(std::uint32_t set) const {
  if (auto* found = peers_->peer(set)) return found;
  return Error(EIO).with("set {} of the volume does not run", set);
}

/// Sets with a part, ascending.
std::vector<std::uint32_t> OrderingLayer::sets_of(const Record& record) const {
  std::set<std::uint32_t> sets{set()};
  for (const auto& gfid : {record.gfid, record.displaced, record.name.parent, record.to.parent})
    if (!gfid.is_nil()) sets.insert(placement_->set_of(gfid));
  return {sets.begin(), sets.end()};
}

/// Locks everything in the one order that all leaders keep: the tree, then by set, within a set as KeyLocks
/// does. An error has let everything go.
/// The caller then asks done_before() ahead of looking at the answer: of a change that is sent again and has
/// happened, sets say that its name is taken, its object gone, or that they have no room to do it once more.
Task<Result<void>> OrderingLayer::prepare_all(Led& led) {
  auto prepared = co_await prepare_each(led);
  if (!prepared) co_await give_up(led);
  co_return prepared;
}

Task<Result<void>> OrderingLayer::prepare_each(Led& led) {
  if (led.locks_tree) {
    const auto root = placement_->set_of(Gfid::root());
    CO_TRY(auto* keeper, peer(root));
    led.prepared.insert(root);
    CO_TRY(co_await keeper->prepare(led.record, true));
  }
  led.record.tx.sets = sets_of(led.record);
  for (auto set : led.record.tx.sets) {
    TxFacts facts;
    if (set == this->set()) {
      CO_TRY(led.held, co_await locks_.lock(keys_here(led.record)));
      led.hidden = hidden_by(led.record);
      hidden_.hide(led.hidden);
      const auto room = co_await room_for(0);
      CO_TRY(facts, co_await on_worker(short_work_, [&] { return facts_here(led.record, room); }));
    } else {
      CO_TRY(auto* other, peer(set));
      led.prepared.insert(set);
      CO_TRY(facts, co_await other->prepare(led.record, false));
    }
    if (facts.object) led.facts.object = facts.object;
    if (facts.displaced) led.facts.displaced = facts.displaced;
    led.facts.object_empty &= facts.object_empty;
    led.facts.displaced_empty &= facts.displaced_empty;
  }
  co_return Result<void>();
}

/// Undecided: nothing happens.
Task<void> OrderingLayer::give_up(Led& led) {
  for (auto set : led.prepared)
    if (auto* other = peers_->peer(set)) co_await other->abort(led.record.tx.id);
  led.prepared.clear();
  led.show();
}

/// The moment it happens; then every set does its part. The attributes of the object afterwards, if its set
/// could tell.
Task<Result<std::optional<FileAttr>>> OrderingLayer::decide(const OpContext& ctx, Led& led) {
  auto& record = led.record;
  auto sets = sets_of(record);
  led.prepared.insert(sets.begin(), sets.end());  // with the keeper of the tree's lock
  record.tx.sets.assign(led.prepared.begin(), led.prepared.end());
  const auto stamped = begin(ctx, record.kind, record.gfid);
  record.session = stamped.session;
  record.sequence = stamped.sequence;
  record.hlc = stamped.hlc;
  record.time_ns = stamped.time_ns;
  record.tx.phase = TxPhase::kDecided;
  if (record.kind == RecordKind::kCreate)
    record.state.atime = record.state.mtime = time_from_ns(record.time_ns);
  auto appended = co_await on_worker(short_work_, [&] { return append(record); });
  if (!appended) {
    co_await give_up(led);
    co_return std::move(appended).error();
  }
  auto& decision = transactions_.decisions[record.tx.id.number];
  decision.record = record;
  decision.undelivered.insert(record.tx.sets.begin(), record.tx.sets.end());
  decision.undelivered.erase(set());
  transactions_.leading.erase(record.tx.id.number);
  crash_point("tx/after-decide");
  decided_.notify_all();
  co_return co_await carry_out(ctx, led);
}

namespace {

/// Whether a set's part is only that something of it goes: then after the name that showed it.
bool only_removes(const Record& record, const Placement& placement, std::uint32_t set) {
  if (record.kind == RecordKind::kUnlink) return true;
  if (record.kind != RecordKind::kRename || record.displaced.is_nil() || record.exchange) return false;
  for (const auto& gfid : {record.gfid, record.name.parent, record.to.parent})
    if (placement.set_of(gfid) == set) return false;
  return placement.set_of(record.displaced) == set;
}

}  // namespace

Task<Result<std::optional<FileAttr>>> OrderingLayer::carry_out(const OpContext& ctx, Led& led) {
  const auto& record = led.record;
  const auto others = transactions_.decisions[record.tx.id.number].undelivered;
  std::optional<FileAttr> attr;
  for (auto other : others)
    if (!only_removes(record, *placement_, other)) co_await deliver(record, other, attr);
  bool keep = victim_stays(record);
  hold_replaced(record);
  auto applied = co_await on_worker(short_work_, [&] {
    keep |= takes_large(record);
    return apply_appended(record, {.keep_object = keep, .note_replaced = true});
  });
  crash_point("tx/after-apply");
  for (auto other : others)
    if (only_removes(record, *placement_, other)) co_await deliver(record, other, attr);
  if (applied && !attr && store_.owns(record.gfid)) {
    auto own = co_await attr_on_worker(record.gfid);
    if (own) attr = *own;
  }
  finish(ctx, record);
  let_go(record.tx.id);  // the tree's lock, if this set keeps it
  led.show();
  if (record.last_link && keep) co_await orphaned(record.victim(), record.index);
  if (!applied) co_return std::move(applied).error().set_maybe_applied();
  co_return attr;
}

/// A set that fails gets its part again later: many times a second, and the log hears of the first and the
/// last of them.
Task<void> OrderingLayer::deliver(const Record& record, std::uint32_t set, std::optional<FileAttr>& attr) {
  auto* other = peers_->peer(set);
  if (!other) co_return;
  auto done = co_await other->commit(record, closed_below());
  if (!done) {
    auto decision = transactions_.decisions.find(record.tx.id.number);
    if (decision == transactions_.decisions.end() || decision->second.late.insert(set).second)
      log::warning("brick {}: {} of {} on set {}: {}; it will be tried again", store_.path(),
                   to_string(record.kind), record.gfid.hex(), set, done.error().message());
    co_return;
  }
  if (*done) attr = **done;
  delivered(record.tx.id, set);
}

void OrderingLayer::delivered(TxId id, std::uint32_t set) {
  auto decision = transactions_.decisions.find(id.number);
  if (decision == transactions_.decisions.end()) return;
  decision->second.undelivered.erase(set);
  if (decision->second.late.erase(set) == 0) return;
  const auto& record = decision->second.record;
  log::info("brick {}: {} of {} is done on set {} now", store_.path(), to_string(record.kind),
            record.gfid.hex(), set);
}

/// Whether `above` is `gfid` or a directory on its way to the root. With the tree locked.
Task<Result<bool>> OrderingLayer::is_above_across(Gfid above, Gfid gfid) {
  constexpr int kDeepest = 1 << 20;
  for (int depth = 0; depth < kDeepest; ++depth) {
    if (gfid == above) co_return true;
    if (gfid == Gfid::root()) co_return false;
    CO_TRY(auto* owner, peer(placement_->set_of(gfid)));
    CO_TRY(auto entry, co_await owner->parent_of(gfid));
    gfid = entry.parent;
  }
  co_return Error(EUCLEAN).with("the way from directory {} to the root does not end", gfid.hex());
}

}  // namespace polder
