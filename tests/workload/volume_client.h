// SPDX-License-Identifier: GPL-3.0-or-later
// VolumeClient: one of several clients that change a volume at random, each its own names and files in
// directories that are everybody's. What they do and what is acknowledged goes into a History.
#pragma once
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core-volume/layer/file_ops.h"
#include "tests/workload/history.h"

namespace polder {

/// EIO of a change, or of a look at it, of which a set has not taken its part yet since it had no room
/// (core-volume/layer/not_there_yet.h).
bool is_late(const Error& why);

struct Clients {
  /// Those of a volume in which nobody has done anything yet, or what is left of them.
  void adopt(const FoundVolume& found);

  std::vector<Gfid> directories{Gfid::root()};  // that exist or existed
  std::vector<Gfid> files;                      // likewise
  std::vector<std::string> unexpected;
  std::uint64_t acknowledged = 0;  // operations, not steps
  bool stop = false;               // each client ends with the step it is at

  // What the world does to them, and they must then expect:
  bool full = false;           // ENOSPC, and what is late
  bool disk_failed = false;    // EIO
  bool session_ended = false;  // of one of them: EIO, ESTALE (C20)
  /// Who was under way then may be told that somebody was faster: itself, in a request that it had to send
  /// again (coherence.md, P2).
  bool power_lost = false;
};

class VolumeClient {
 public:
  /// Called when an fsync has returned, with its number.
  using Acknowledged = std::function<void(std::size_t)>;

  VolumeClient(std::size_t number, std::uint64_t seed, Clients& all, History& history,
               Acknowledged acknowledged);
  /// So many steps; fewer when one is left open since its outcome cannot be found out yet.
  Task<void> act(FileOps& ops, int steps);
  /// Looks what has become of a step that was left open.
  Task<Result<void>> resolve(FileOps& ops);
  /// The same, in a snapshot that may have what the volume has lost: resolve() is still to follow.
  Task<Result<void>> look_for_open(FileOps& snapshot);
  /// Of each file that it had changed, and of the names, one fsync may now fail (coherence.md, P6).
  void expect_losses();
  /// From now on this is what there is.
  void adopt(const FoundVolume& found);

 private:
  struct Own {
    Gfid gfid;
    bool directory = false;
  };
  using Names = std::map<EntryName, Own>;
  using Files = std::map<Gfid, FileState>;

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  EntryName any_name();
  const Gfid& any_directory() { return all_.directories[below(all_.directories.size())]; }
  std::string any_bytes();
  /// One of its own, or the end.
  Names::iterator any(bool directory);
  Files::iterator any_file();  // perhaps the end
  OpContext& next();
  bool is_usual(const Error& why) const;
  bool may_have_happened(const Error& error) const;
  Result<void> tell_losses(Result<void> synced, const Gfid* file);

  Task<Result<void>> resolve_name(FileOps& ops, EntryName name);
  Task<Result<void>> resolve_file(FileOps& ops, Gfid gfid);
  void changed(const Gfid& gfid, FileState state);

  Task<Result<void>> one(FileOps& ops);
  Task<Result<void>> create(FileOps& ops, EntryName name);
  Task<Result<void>> write(FileOps& ops);
  Task<Result<void>> truncate(FileOps& ops);
  Task<Result<void>> change_extents(FileOps& ops);
  Task<Result<void>> copy(FileOps& ops);
  Task<Result<void>> set_attributes(FileOps& ops);
  Task<Result<void>> mkdir(FileOps& ops);
  Task<Result<void>> remove(FileOps& ops, bool directory);
  Task<Result<void>> rename(FileOps& ops, bool directory);
  Task<Result<void>> rename(FileOps& ops, EntryName from, EntryName to);
  Task<Result<void>> replace(FileOps& ops);
  Task<Result<void>> exchange(FileOps& ops);
  Task<Result<void>> link(FileOps& ops);
  Task<Result<void>> fsync(FileOps& ops);
  Task<Result<void>> sync(FileOps& ops);

  const std::size_t number_;
  Clients& all_;
  History& history_;
  Acknowledged acknowledged_;
  std::mt19937_64 random_;
  OpContext ctx_;
  Names names_;
  Files files_;  // that it made: perhaps gone

  // What the step at hand changes, if anything.
  std::vector<EntryName> touched_names_;
  std::vector<Gfid> touched_files_;
  Gfid touched_removal_;  // what loses a name
  bool open_ = false;     // the last step: it is not known whether it has happened

  bool names_may_be_lost_ = false;
  bool some_may_be_lost_ = false;  // of whatever: what a sync of everything tells
  std::set<Gfid> files_may_be_lost_;
};

}  // namespace polder
