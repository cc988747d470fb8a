// SPDX-License-Identifier: GPL-3.0-or-later
// PeerGate: a set as the others see it, for as long as the volume runs: its brick may come and go behind it.
// While the gate is shut, what is asked answers EIO with the reason; what was let in before is counted.
#pragma once
#include <set>
#include <string>

#include "core-volume/layer/set_peer.h"

namespace polder {

class PeerGate final : public SetPeer {
 public:
  void open(SetPeer& peer) { peer_ = &peer; }
  void shut(std::string why) {
    peer_ = nullptr;
    why_ = std::move(why);
  }
  /// Its brick went, and what these sessions changed last may be lost: the next fsync of each says so, once.
  void lose(std::set<std::uint32_t> sessions) { lost_ = std::move(sessions); }
  bool is_open() const { return peer_ != nullptr; }
  std::size_t under_way() const { return under_way_; }

  Task<Result<Shown>> peek(EntryName entry) override;
  Task<Result<EntryName>> parent_of(Gfid directory) override;
  Task<Result<TxFacts>> prepare(Record intended, bool tree_only) override;
  Task<Result<std::optional<FileAttr>>> commit(Record decided, std::uint64_t closed_below) override;
  Task<void> abort(TxId id) override;
  Task<Result<TxOutcome>> outcome(TxId id) override;
  std::vector<Record> open_decisions() override;
  std::vector<Record> open_echoes() override;
  Task<void> settle_prepared() override;
  Task<Result<void>> adopt(Record decided) override;
  Task<Result<std::set<TxId>>> overtaken(std::vector<Record> decided) override;
  Task<Result<bool>> has_lost(Record decided) override;
  bool is_blocked(const Record& decided) override;
  void delivered(TxId id, std::uint32_t set) override;
  bool is_stable(TxId id) override;
  void closed(std::uint32_t leader, std::uint64_t below) override;
  bool has_unsynced(std::uint32_t session) override;
  Task<Result<void>> sync_session(std::uint32_t session) override;

 private:
  class Inside;
  Result<Inside> enter();

  SetPeer* peer_ = nullptr;
  std::string why_;
  std::set<std::uint32_t> lost_;
  std::size_t under_way_ = 0;
};

}  // namespace polder
