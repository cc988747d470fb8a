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

struct Clients {
  std::vector<Gfid> directories{Gfid::root()};  // that exist or existed
  std::vector<Gfid> files;                      // likewise
  std::vector<std::string> unexpected;
  bool stop = false;  // each client ends with the step it is at
  /// An fsync may say EIO, and who was under way then may be told that somebody was faster: itself, in a
  /// request that it had to send again (coherence.md, P2).
  bool power_lost = false;
};

class VolumeClient {
 public:
  /// Called when an fsync has returned, with its number.
  using Acknowledged = std::function<void(std::size_t)>;

  VolumeClient(std::size_t number, std::uint64_t seed, Clients& all, History& history,
               Acknowledged acknowledged);
  Task<void> act(FileOps& ops, int steps);

 private:
  struct Own {
    Gfid gfid;
    bool directory = false;
  };
  using Names = std::map<EntryName, Own>;

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  EntryName any_name();
  const Gfid& any_directory() { return all_.directories[below(all_.directories.size())]; }
  std::string any_bytes();
  /// One of its own, or the end.
  Names::iterator any(bool directory);
  OpContext& next();

  /// Whether it has been done, or perhaps has: see Clients::power_lost.
  template <typename T>
  bool may_be_done(const Result<T>& outcome) const {
    return outcome || (all_.power_lost && (outcome.failed_with(ENOENT) || outcome.failed_with(EEXIST)));
  }
  Task<Result<void>> one(FileOps& ops);
  Task<Result<void>> create(FileOps& ops, EntryName name);
  Task<Result<void>> write(FileOps& ops);
  Task<Result<void>> truncate(FileOps& ops);
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
  std::map<Gfid, FileState> files_;  // that it made: perhaps gone
};

}  // namespace polder
