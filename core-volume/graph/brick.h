// SPDX-License-Identifier: GPL-3.0-or-later
// Brick: one brick of this process, put together: stats(locks(barrier(ordering(journal, store)))) over one
// directory.
#pragma once
#include <memory>
#include <string>

#include "base/seams.h"
#include "changelog/journal/journal.h"
#include "core-volume/layer/placement.h"
#include "core-volume/layer/set_peer.h"
#include "core-volume/layers/barrier/barrier_layer.h"
#include "core-volume/layers/locks/locks_layer.h"
#include "core-volume/layers/ordering/ordering.h"
#include "core-volume/layers/stats/stats_layer.h"
#include "core-volume/layers/store/store.h"

namespace polder {

struct BrickConfig {
  std::string path;  // absolute
  Gfid volume;       // expected; nil: whatever the directory says (export, inspection)
  Gfid brick;        // expected; nil: likewise
  std::uint64_t term = 1;
  std::size_t open_files = 1024;
  /// How long others wait for locks after a start that follows an earlier one. None: the rpc server knows
  /// whose locks are still to be claimed, and waits for exactly those.
  nanoseconds lock_grace{};
  JournalOptions journal;
  OrderingOptions ordering;
  /// Of a volume of several sets; both outlive the brick. Null: it has everything.
  const Placement* placement = nullptr;
  SetPeers* peers = nullptr;
};

class Brick {
 public:
  /// Makes a new brick in an empty directory (Store::format). Blocks: call it on a worker.
  static Result<void> format(Seams& seams, const std::string& path, const BrickIdentity& identity);

  /// Opens directory and log, redoes what a killed process left, starts the background work. Errors name the
  /// brick and what is wrong with it. `seams` outlives the brick.
  static Task<Result<std::unique_ptr<Brick>>> start(Seams& seams, BrickConfig config);
  /// After the last operation from above has ended. Syncs the log (what it says is redone if power fails);
  /// the brick is closed when the object is destroyed. Must be called before that.
  Task<Result<void>> stop();

  /// Whether its path still leads to it and its log takes records; `write` tries its disk, too. EIO or what
  /// the disk says: nothing can be trusted to last, and a start anew may help.
  Task<Result<void>> check(bool write);
  /// Operations from above that have not ended.
  std::size_t under_way() const { return barrier_.in_flight() + barrier_.held() + locks_.waiting(); }

  FileOps& top() { return stats_; }
  InvalidationSource& invalidations() { return ordering_; }
  OrderingLayer& ordering() { return ordering_; }
  StatsLayer& stats() { return stats_; }
  LocksLayer& locks() { return locks_; }
  BarrierLayer& barrier() { return barrier_; }
  Journal& journal() { return *journal_; }
  Store& store() { return *store_; }
  const BrickConfig& config() const { return config_; }
  const BrickIdentity& identity() const { return store_->identity(); }

 private:
  Brick(Seams& seams, BrickConfig config, std::unique_ptr<Store> store, std::unique_ptr<Journal> journal);
  Result<void> check_on_worker(bool write);

  Seams& seams_;
  const BrickConfig config_;
  DiskFile place_;  // its directory
  std::unique_ptr<Store> store_;
  std::unique_ptr<Journal> journal_;
  OrderingLayer ordering_;
  BarrierLayer barrier_;
  LocksLayer locks_;
  StatsLayer stats_;
};

}  // namespace polder
