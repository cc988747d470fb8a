// SPDX-License-Identifier: GPL-3.0-or-later
// SharedFiles: files that several clients use at the same time, and what must then be so (numbers are those
// of docs/coherence.md):
// - each appends lines to one log: none is lost, torn, doubled or out of its client's order (C4)
// - each raises one counter under a lock: no raise is lost, and no two hold the lock (C14, C15)
// - each removes files that it has open: they keep their bytes (C11, C15).
// Their names are in the root and begin with kSharedPrefix.
#pragma once
#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core-volume/layer/file_ops.h"
#include "tests/workload/volume_client.h"

namespace polder {

inline constexpr std::string_view kSharedPrefix = "shared-";

class SharedFiles {
 public:
  /// Empty ones, in the place of those that are there.
  Task<Result<void>> begin(FileOps& ops, std::size_t clients);
  Task<Result<Opened>> open_log(FileOps& ops) const;
  /// What is wrong with them when nobody is at work. `sessions_kept`: no client was away for so long that it
  /// lost its locks.
  Task<Result<std::vector<std::string>>> problems(FileOps& top, bool sessions_kept);
  /// What is wrong with them in a snapshot that was made when this was `before`, and not later than now.
  std::vector<std::string> problems_since(const SharedFiles& before, const FoundVolume& snapshot) const;
  /// Without them.
  static FoundVolume others(FoundVolume found);

 private:
  friend class SharingClient;
  struct Lines {
    std::uint64_t tried = 0;
    std::set<std::uint64_t> acknowledged;
  };

  std::vector<std::string> wrong_lines(const std::string& log) const;

  Gfid log_, counter_;
  std::vector<Lines> lines_;  // by client
  std::uint64_t raised_ = 0, perhaps_raised_ = 0;
  int holders_ = 0;  // of the lock
  bool met_ = false;
  std::vector<std::string> problems_;
};

class SharingClient {
 public:
  SharingClient(std::size_t number, std::uint64_t seed, Clients& all, SharedFiles& shared);
  Task<void> act(FileOps& ops, Clock& clock, int steps);
  /// Closes what it has open.
  Task<void> close_all(FileOps& ops);

 private:
  struct Held {
    Gfid gfid;
    HandleId handle = 0;
    std::string content;
  };

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  Task<Result<void>> one(FileOps& ops, Clock& clock);
  Task<Result<void>> append(FileOps& ops);
  Task<Result<void>> raise(FileOps& ops, Clock& clock);
  Task<Result<void>> raise_locked(FileOps& ops, Clock& clock, HandleId handle);
  Task<Result<void>> remove_open(FileOps& ops);
  Task<Result<void>> use_removed(FileOps& ops);

  const std::size_t number_;
  Clients& all_;
  SharedFiles& shared_;
  std::mt19937_64 random_;
  OpContext ctx_;
  std::vector<Held> held_;
  int made_ = 0;
};

}  // namespace polder
