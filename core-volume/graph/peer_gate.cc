// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/peer_gate.h"

#include "base/coro.h"

namespace polder {

/// One call that was let in.
class PeerGate::Inside {
 public:
  Inside(SetPeer& peer, std::size_t& count) : peer_(&peer), count_(&count) { ++count; }
  Inside(Inside&& other) noexcept : peer_(other.peer_), count_(std::exchange(other.count_, nullptr)) {}
  Inside& operator=(Inside&&) = delete;
  ~Inside() {
    if (count_) --*count_;
  }
  SetPeer* operator->() const { return peer_; }

 private:
  SetPeer* peer_;
  std::size_t* count_;
};

Result<PeerGate::Inside> PeerGate::enter() {
  if (!peer_) return Error(EIO).with("{}", why_);
  return Inside(*peer_, under_way_);
}

Task<Result<SetPeer::Shown>> PeerGate::peek(EntryName entry) {
  CO_TRY(auto inside, enter());
  co_return co_await inside->peek(std::move(entry));
}

Task<Result<EntryName>> PeerGate::parent_of(Gfid directory) {
  CO_TRY(auto inside, enter());
  co_return co_await inside->parent_of(directory);
}

Task<Result<TxFacts>> PeerGate::prepare(Record intended, bool tree_only) {
  CO_TRY(auto inside, enter());
  co_return co_await inside->prepare(std::move(intended), tree_only);
}

Task<Result<std::optional<FileAttr>>> PeerGate::commit(Record decided, std::uint64_t closed_below) {
  CO_TRY(auto inside, enter());
  co_return co_await inside->commit(std::move(decided), closed_below);
}

Task<void> PeerGate::abort(TxId id) {
  auto inside = enter();
  if (inside) co_await (*inside)->abort(id);  // else it asks for the outcome when it starts again
}

Task<Result<TxOutcome>> PeerGate::outcome(TxId id) {
  CO_TRY(auto inside, enter());
  co_return co_await inside->outcome(id);
}

std::vector<Record> PeerGate::open_decisions() {
  return peer_ ? peer_->open_decisions() : std::vector<Record>();
}

std::vector<Record> PeerGate::open_echoes() {
  return peer_ ? peer_->open_echoes() : std::vector<Record>();
}

Task<void> PeerGate::settle_prepared() {
  auto inside = enter();
  if (inside) co_await (*inside)->settle_prepared();
}

Task<Result<void>> PeerGate::adopt(Record decided) {
  CO_TRY(auto inside, enter());
  co_return co_await inside->adopt(std::move(decided));
}

Task<Result<std::set<TxId>>> PeerGate::overtaken(std::vector<Record> decided) {
  CO_TRY(auto inside, enter());
  co_return co_await inside->overtaken(std::move(decided));
}

Task<Result<bool>> PeerGate::has_lost(Record decided) {
  CO_TRY(auto inside, enter());
  co_return co_await inside->has_lost(std::move(decided));
}

bool PeerGate::is_blocked(const Record& decided) {
  return peer_ && peer_->is_blocked(decided);
}

void PeerGate::delivered(TxId id, std::uint32_t set) {
  if (peer_) peer_->delivered(id, set);
}

bool PeerGate::is_stable(TxId id) {
  return peer_ && peer_->is_stable(id);
}

void PeerGate::closed(std::uint32_t leader, std::uint64_t below) {
  if (peer_) peer_->closed(leader, below);
}

bool PeerGate::has_unsynced(std::uint32_t session) {
  return lost_.contains(session) || (peer_ && peer_->has_unsynced(session));
}

Task<Result<void>> PeerGate::sync_session(std::uint32_t session) {
  if (lost_.erase(session)) co_return Error(EIO).with("what was changed last may be lost: {}", why_);
  CO_TRY(auto inside, enter());
  co_return co_await inside->sync_session(session);
}

}  // namespace polder
