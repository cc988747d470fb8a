// SPDX-License-Identifier: GPL-3.0-or-later
// LocksLayer: POSIX range locks and flocks of all clients of a brick, in memory. Everything else passes.
//
// - A lock belongs to (session, owner). The client unlocks when a process closes a file; end_session() drops
//   what a session still has.
// - A request that can be granted at once is, as in Linux; of those that wait, the one that has waited
// longest
//   is granted first.
// - EDEADLK: a POSIX lock that would wait for somebody who waits, over whatever steps, for its owner, within
//   this layer. Cycles over several bricks are not seen: such waits end with the client's interrupt.
// - Nothing is kept over a restart. Clients claim again with ctx.retry; start_grace() keeps others waiting
//   meanwhile.
#pragma once
#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <set>

#include "base/clock.h"
#include "core-volume/layer/pass_through.h"
#include "core-volume/layers/locks/lock_table.h"

namespace polder {

class LocksLayer : public PassThroughLayer {
 public:
  struct Options {
    std::size_t max_locks = 1 << 20;         // ENOLCK beyond, over all files
    std::size_t max_locks_per_file = 16384;  // since each request looks at all of them
    std::size_t max_waiting = 65536;
  };

  /// `clock` outlives the layer.
  LocksLayer(FileOps& below, Clock& clock, Options options);
  LocksLayer(FileOps& below, Clock& clock);
  /// Ends waits with ECANCELED.
  ~LocksLayer() override;

  /// For `duration` only requests with ctx.retry are granted, others wait for its end (EAGAIN if they may not
  /// wait).
  void start_grace(nanoseconds duration);

  /// Whoever waits gets EIO: the brick goes.
  void end_waits();

  std::size_t locks_held() const { return locks_held_; }
  std::size_t waiting() const { return waiting_.size(); }
  /// One lock, held or waited for. For statedumps.
  struct Listed {
    Gfid gfid;
    HeldLock lock;
    bool waits = false;
  };
  /// At most `most` of them; each file's holders before those who wait.
  std::vector<Listed> list(std::size_t most) const;
  /// Of the time in which only earlier holders get locks.
  nanoseconds grace_left() const { return std::max(grace_end_ - clock_.boot_time(), nanoseconds(0)); }

  Task<Result<FileLock>> test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) override;
  Task<Result<void>> set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) override;
  Task<Result<void>> end_session(const OpContext& ctx) override;

 private:
  struct Waiting;
  struct File {
    LockTable table;
    std::list<std::shared_ptr<Waiting>> queue;  // oldest first
  };

  Task<Result<void>> wait_for_grace(const OpContext& ctx, bool may_wait);
  Task<Result<void>> wait_for_lock(std::shared_ptr<Waiting> waiting);
  Result<void> check_limits(Gfid gfid, const FileLock& lock) const;
  bool would_deadlock(const Waiting& request) const;
  void grant(File& file, const LockOwner& owner, const FileLock& lock);
  /// Grants what can be granted now, and forgets the file when nothing is left of it.
  void settle(Gfid gfid);
  void leave_queue(const std::shared_ptr<Waiting>& waiting);

  Clock& clock_;
  const Options options_;
  std::map<Gfid, File> files_;
  std::multimap<LockOwner, std::shared_ptr<Waiting>> waiting_;
  std::size_t locks_held_ = 0;
  nanoseconds grace_end_{0};
};

}  // namespace polder
