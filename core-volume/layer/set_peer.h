// SPDX-License-Identifier: GPL-3.0-or-later
// SetPeer: what the sets of a volume ask of one another, for changes that touch more than one of them.
//
// A transaction is led by the set of the target name (Record::to of a rename, else Record::name):
//   1. peek    what the names show now, without locks
//   2. prepare in ascending order of sets (the tree's lock first): each locks the names and objects of its
//              part, checks them, logs kPrepared and tells what it knows
//   3. decide  the leader appends the whole change as kDecided: the moment it happens
//   4. commit  each other set appends it as kEcho and applies its part; the leader applies its own
//   5. closed  once every part is stable, the leader says so (kTxClosed) and all may forget
// A set that finds kPrepared in its log at a start asks the leader: what the leader does not know did not
// happen. Locks are held until then, so nobody sees a name in neither or both places.
//
// Loop thread only; one implementation, OrderingLayer. Calls into a brick that is being stopped are its
// owner's business: it lets nobody in and waits for those inside. A set whose brick does not run has no peer,
// or one that answers EIO.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/task.h"
#include "changelog/record/record.h"
#include "core-volume/layer/file_attr.h"

namespace polder {

/// What a set knows of its part, with everything of it locked.
struct TxFacts {
  std::optional<FileAttr> object;     // Record::gfid
  std::optional<FileAttr> displaced;  // Record::displaced
  bool object_empty = true;           // a directory without entries; true of anything else
  bool displaced_empty = true;
};

enum class TxOutcome { kUnknown, kUndecided, kDecided };

class SetPeer {
 public:
  virtual ~SetPeer() = default;

  /// What the name shows: gfid and type bits, nil when it is free. ENOENT when the directory is gone.
  struct Shown {
    Gfid gfid;
    std::uint32_t mode = 0;
  };
  virtual Task<Result<Shown>> peek(EntryName entry) = 0;
  /// Where a directory's entry is. With the tree locked.
  virtual Task<Result<EntryName>> parent_of(Gfid directory) = 0;

  /// `intended` has tx, kind, gfid, names, displaced and exchange. EAGAIN when a name shows something else
  /// by now, ENXIO when an object is not on its set. `tree_only`: nothing but the tree's lock, which is the
  /// root's set's.
  virtual Task<Result<TxFacts>> prepare(Record intended, bool tree_only) = 0;
  /// Once or several times, same result; also without prepare(), where nothing had to be locked. Gives the
  /// attributes of Record::gfid afterwards if this set owns it. `closed_below`: of the leader.
  virtual Task<Result<std::optional<FileAttr>>> commit(Record decided, std::uint64_t closed_below) = 0;
  /// Nothing was decided, or it does not happen after all (overtaken()). Also of what was never prepared.
  virtual Task<void> abort(TxId id) = 0;

  // For recovery, and to forget.
  virtual Task<Result<TxOutcome>> outcome(TxId id) = 0;
  /// Decided by this set and not closed, in order of their numbers.
  virtual std::vector<Record> open_decisions() = 0;
  /// Parts of others' decisions that this set has applied and does not know to be closed.
  virtual std::vector<Record> open_echoes() = 0;
  /// Asks the leaders of what is prepared here, and drops what they do not know.
  virtual Task<void> settle_prepared() = 0;
  /// After a power loss another set's log may have what this set's log has lost: it is decided once more.
  virtual Task<Result<void>> adopt(Record decided) = 0;
  /// Of decisions from before a power loss: those that this set's log has lost, and that what was changed
  /// here since contradicts. A set that has kept them was away meanwhile.
  virtual Task<Result<std::set<TxId>>> overtaken(std::vector<Record> decided) = 0;
  /// Whether this set's log has lost its part of the decision, and this set what the decision stands on: the
  /// object that gets the name of another one, or the change that had freed the name. It cannot happen.
  virtual Task<Result<bool>> has_lost(Record decided) = 0;
  /// Whether another transaction that is prepared here holds what adopt() or commit() of this one would wait
  /// for.
  virtual bool is_blocked(const Record& decided) = 0;
  /// `set` has done its part of a decision of this one.
  virtual void delivered(TxId id, std::uint32_t set) = 0;
  /// Whether this set's part of `id` is stable.
  virtual bool is_stable(TxId id) = 0;
  virtual void closed(std::uint32_t leader, std::uint64_t below) = 0;
  /// Whether something that the session changed here is not stable yet.
  virtual bool has_unsynced(std::uint32_t session) = 0;
  /// It becomes stable (fsync on another set covers it).
  virtual Task<Result<void>> sync_session(std::uint32_t session) = 0;
};

class SetPeers {
 public:
  virtual ~SetPeers() = default;
  /// Null when that set's brick does not run.
  virtual SetPeer* peer(std::uint32_t set) = 0;
  /// sync_session() of every set but `except` that has something unsynced of the session: for fan_out. EIO,
  /// once, of a set whose brick went with such changes.
  virtual std::vector<Task<Result<void>>> sync_session(std::uint32_t session, std::uint32_t except) = 0;
};

}  // namespace polder
