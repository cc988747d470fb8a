// SPDX-License-Identifier: GPL-3.0-or-later
// TxTable: what a set knows of transactions (core-volume/layer/set_peer.h) until all may forget them. Rebuilt
// at a start from the log. Loop thread only.
#pragma once
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/concurrency.h"
#include "changelog/record/record.h"

namespace polder {

/// Names and directories that a rename between sets has in its hands: a look-up or a listing waits until it
/// is over, so that nobody sees the object in neither or both places.
class HiddenNames {
 public:
  void hide(const std::vector<std::string>& keys) {
    for (const auto& key : keys) ++keys_[key];
  }
  void show(const std::vector<std::string>& keys);
  bool any() const { return !keys_.empty(); }
  /// ECANCELED when the waiting task is cancelled.
  Task<Result<void>> wait_for(const std::string& key);

 private:
  std::unordered_map<std::string, std::size_t> keys_;
  Event shown_;
};

struct TxTable {
  /// Another set leads; this one holds its part.
  struct Prepared {
    Record intended;
    std::uint64_t first_index = 0;
    std::vector<KeyLocks::Guard> held;
    std::vector<std::string> hidden;
  };
  /// This set has decided.
  struct Decision {
    Record record;
    std::set<std::uint32_t> undelivered;  // sets that have not applied their part, as far as we know
    std::set<std::uint32_t> late;         // those of them that could not, which the log has been told
  };

  std::map<TxId, Prepared> prepared;
  std::map<TxId, Record> echoes;                        // applied here, not known to be closed
  std::map<std::uint32_t, std::uint64_t> closed_below;  // by leading set
  std::set<std::uint64_t> leading;                      // numbers, undecided
  std::map<std::uint64_t, Decision> decisions;          // by number, not closed
  std::uint64_t closed_index = 0;                       // of this set's last kTxClosed

  bool is_closed(const TxId& id) const {
    auto closed = closed_below.find(id.set);
    return closed != closed_below.end() && id.number < closed->second;
  }
  bool is_done(const TxId& id) const { return echoes.contains(id) || is_closed(id); }
  void forget(std::uint32_t leader, std::uint64_t below);
  /// The oldest record that a start would need; UINT64_MAX: none.
  std::uint64_t oldest_index() const;
};

}  // namespace polder
