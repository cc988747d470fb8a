// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: this set's part of transactions that another set leads.
#include <algorithm>

#include "base/crash_point.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

/// Of what the record names, that which this set owns.
OrderingLayer::Keys OrderingLayer::keys_here(const Record& record) const {
  Keys keys;
  for (const auto& gfid : {record.gfid, record.displaced})
    if (!gfid.is_nil() && store_.owns(gfid)) keys.push_back(object_key(gfid, KeyLocks::Mode::kExclusive));
  for (const auto* entry : {&record.name, &record.to}) {
    if (entry->parent.is_nil() || !store_.owns(entry->parent)) continue;
    keys.push_back(name_key(entry->parent, entry->name));
    keys.push_back(object_key(entry->parent, KeyLocks::Mode::kShared));
  }
  return keys;
}

/// What others must not look at meanwhile: the names of a rename, and the listings they are in.
std::vector<std::string> OrderingLayer::hidden_by(const Record& record) const {
  std::vector<std::string> keys;
  if (record.kind != RecordKind::kRename) return keys;
  for (const auto* entry : {&record.name, &record.to}) {
    if (!store_.owns(entry->parent)) continue;
    keys.push_back(name_key(entry->parent, entry->name).key);
    keys.push_back(object_key(entry->parent, KeyLocks::Mode::kShared).key);
  }
  return keys;
}

namespace {

/// Between peek and lock the world may have moved on: the leader looks again.
Error changed() {
  return Error(EAGAIN);
}

/// Or the object's set has not got it yet; then the name still shows it when the leader has looked again,
/// since a name goes before its object.
Error missing() {
  return Error(ENXIO);
}

}  // namespace

/// On a worker, with keys_here() held.
Result<TxFacts> OrderingLayer::facts_here(const Record& intended, const Result<void>& room) {
  const bool is_rename = intended.kind == RecordKind::kRename;
  if (store_.owns(intended.name.parent)) {
    auto there = store_.lookup(intended.name.parent, intended.name.name);
    if (!there && !there.failed_with(ENOENT)) return std::move(there).error();
    if (intended.kind == RecordKind::kLink) {
      TRY(store_.directory_facts(intended.name.parent));  // refuses one that was removed
      if (there) return Error(EEXIST);
    } else if (!there || there->gfid != intended.gfid) {
      return changed();
    }
  }
  if (is_rename && store_.owns(intended.to.parent)) {
    auto there = store_.lookup(intended.to.parent, intended.to.name);
    if (!there && !there.failed_with(ENOENT)) return std::move(there).error();
    TRY(store_.directory_facts(intended.to.parent));
    if ((there ? there->gfid : Gfid{}) != intended.displaced) return changed();
  }
  TxFacts facts;
  TRY(facts.object, object_facts(intended.gfid, facts.object_empty));
  TRY(facts.displaced, object_facts(intended.displaced, facts.displaced_empty));
  TRY(room);
  return facts;
}

Result<std::optional<FileAttr>> OrderingLayer::object_facts(const Gfid& gfid, bool& empty) {
  if (gfid.is_nil() || !store_.owns(gfid)) return std::nullopt;
  auto attr = store_.attr(gfid);
  if (attr.failed_with(ESTALE)) return missing();
  if (!attr) return std::move(attr).error();
  if (attr->is_directory()) {
    TRY(empty, store_.is_empty(gfid));
  }
  return *attr;
}

Task<Result<SetPeer::Shown>> OrderingLayer::peek(EntryName entry) {
  auto there = co_await on_worker(short_work_, [&] { return store_.lookup(entry.parent, entry.name); });
  if (there.failed_with(ENOENT)) co_return Shown{};
  if (there.failed_with(ESTALE)) co_return Error(ENOENT);
  if (!there) co_return std::move(there).error();
  co_return Shown{there->gfid, there->mode & S_IFMT};
}

Task<Result<EntryName>> OrderingLayer::parent_of(Gfid directory) {
  co_return co_await on_worker(short_work_, [&] { return store_.parent_of(directory); });
}

Task<Result<TxFacts>> OrderingLayer::prepare(Record intended, bool tree_only) {
  intended.tx.phase = TxPhase::kPrepared;
  intended.tx.locks_tree = tree_only;
  Keys keys = tree_only ? Keys{tree_key()} : keys_here(intended);
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  Result<void> room;
  if (!tree_only) room = co_await room_for(0);
  auto facts = co_await on_worker(short_work_, [&]() -> Result<TxFacts> {
    TxFacts known;
    if (!tree_only) {
      TRY(known, facts_here(intended, room));
    }
    intended.hlc = seams_.hlc.next();
    intended.time_ns = intended.hlc.ns;
    TRY(commit(intended));  // nothing to apply
    return known;
  });
  if (!facts) co_return facts;
  hold(std::move(intended), std::move(held));
  appended_.notify_all();
  crash_point("tx/after-prepare");
  co_return facts;
}

void OrderingLayer::hold(Record intended, KeyLocks::Guard held) {
  auto& tx = transactions_.prepared[intended.tx.id];
  tx.held.push_back(std::move(held));
  if (tx.first_index == 0) tx.first_index = intended.index;
  if (!intended.tx.locks_tree) {
    tx.hidden = hidden_by(intended);
    hidden_.hide(tx.hidden);
  }
  tx.intended = std::move(intended);
}

void OrderingLayer::let_go(const TxId& id) {
  auto at = transactions_.prepared.find(id);
  if (at == transactions_.prepared.end()) return;
  hidden_.show(at->second.hidden);
  transactions_.prepared.erase(at);
}

void OrderingLayer::abandon() {
  abandoned_ = true;
  for (const auto& [id, tx] : transactions_.prepared) hidden_.show(tx.hidden);
  transactions_.prepared.clear();  // it stays so in the log
}

Task<Result<void>> OrderingLayer::until_shown(const std::string& key) {
  CO_TRY(co_await hidden_.wait_for(key));
  if (abandoned_) co_return Error(EIO).with("brick {} is being taken down", store_.path());
  co_return Result<void>();
}

Task<Result<std::optional<FileAttr>>> OrderingLayer::commit(Record decided, std::uint64_t closed_below) {
  transactions_.forget(decided.tx.id.set, closed_below);
  if (!transactions_.is_done(decided.tx.id)) {
    CO_TRY(co_await apply_echo(decided));
  }
  if (decided.gfid.is_nil() || !store_.owns(decided.gfid)) co_return std::nullopt;
  auto gfid = decided.gfid;
  auto attr = co_await attr_on_worker(gfid);
  if (attr.failed_with(ESTALE)) co_return std::nullopt;
  if (!attr) co_return std::move(attr).error();
  co_return *attr;
}

Task<Result<void>> OrderingLayer::apply_echo(const Record& decided) {
  // It may be delivered twice at once: by its operation and by who delivers what was missed.
  Keys once{{fmt::format("t{}.{}", decided.tx.id.set, decided.tx.id.number), KeyLocks::Mode::kExclusive}};
  CO_TRY(auto alone, co_await locks_.lock(std::move(once)));
  if (transactions_.is_done(decided.tx.id)) co_return Result<void>();
  KeyLocks::Guard held;  // unless prepare() holds them
  const bool was_prepared = transactions_.prepared.contains(decided.tx.id);
  if (!was_prepared) {
    CO_TRY(held, co_await locks_.lock(keys_here(decided)));
  }
  Record echo = decided;
  echo.tx.phase = TxPhase::kEcho;
  echo.index = 0;
  echo.sequence = 0;
  // Not prepared, nobody has looked at it (a start, after a power loss): it may not be empty.
  bool keep = !was_prepared || victim_stays(echo);
  hold_replaced(echo);
  CO_TRY(co_await on_worker(short_work_, [&]() -> Result<void> {
    echo.hlc = seams_.hlc.next();
    keep |= takes_large(echo);
    return commit(echo, {.apply = {}, .hints = {.keep_object = keep, .note_replaced = true}, .undo = {}});
  }));
  crash_point("tx/after-echo");
  hold_replaced(echo);
  noted(echo.session, echo.index);
  appended_.notify_all();
  tell(echo, echo.session);
  forget_hints(echo);
  const auto id = echo.tx.id;
  const auto index = echo.index;
  const auto victim = echo.victim();
  const bool orphan = echo.last_link && keep;
  transactions_.echoes.emplace(id, std::move(echo));
  let_go(id);
  held.release();
  if (orphan) co_await orphaned(victim, index);
  co_return Result<void>();
}

void OrderingLayer::forget_hints(const Record& record) {
  if (!record.name.parent.is_nil()) hints_.forget(record.name);
  if (!record.to.parent.is_nil()) hints_.forget(record.to);
}

Task<void> OrderingLayer::abort(TxId id) {
  if (!transactions_.prepared.contains(id) && !transactions_.echoes.contains(id)) co_return;
  Record record;
  record.kind = RecordKind::kTxAborted;
  record.tx.id = id;
  record.tx.phase = TxPhase::kDecided;
  auto logged = co_await log_only(record);
  // A start would ask the leader, and learn the same.
  if (!logged) log::warning("brick {}: {}", store_.path(), logged.error().message());
  let_go(id);
  transactions_.echoes.erase(id);
}

/// A record that changes nothing on the brick.
Task<Result<void>> OrderingLayer::log_only(Record& record) {
  auto logged = co_await on_worker(short_work_, [&]() -> Result<void> {
    record.hlc = seams_.hlc.next();
    record.time_ns = record.hlc.ns;
    return commit(record);
  });
  appended_.notify_all();
  co_return logged;
}

bool OrderingLayer::is_stable(TxId id) {
  if (auto echo = transactions_.echoes.find(id); echo != transactions_.echoes.end())
    return echo->second.index <= journal_.stable_index();
  auto decision = transactions_.decisions.find(id.set == set() ? id.number : 0);
  if (decision != transactions_.decisions.end())
    return decision->second.record.index <= journal_.stable_index();
  return is_closed(id);
}

void OrderingLayer::closed(std::uint32_t leader, std::uint64_t below) {
  transactions_.forget(leader, below);
}

void OrderingLayer::noted(std::uint32_t session, std::uint64_t index) {
  if (session == 0 || index == 0 || !peers_) return;
  auto& last = session_index_[session];
  last = std::max(last, index);  // operations end in any order
}

bool OrderingLayer::has_unsynced(std::uint32_t session) {
  auto last = session_index_.find(session);
  return last != session_index_.end() && last->second > journal_.stable_index();
}

std::set<std::uint32_t> OrderingLayer::unsynced_sessions() const {
  std::set<std::uint32_t> sessions;
  for (const auto& [session, last] : session_index_)
    if (last > journal_.stable_index()) sessions.insert(session);
  return sessions;
}

Task<Result<void>> OrderingLayer::sync_session(std::uint32_t session) {
  if (!has_unsynced(session)) co_return Result<void>();
  co_return co_await on_worker(seams_.workers, [&] { return journal_.sync(); });
}

}  // namespace polder
