// SPDX-License-Identifier: GPL-3.0-or-later
// HotFiles: the objects that are used most, found in one pass and fixed memory (Space-Saving, within the sets
// of a set-associative table): an object that finds no place takes over the least used one of its set,
// together with its count. So a count is never too low, and at most `over` too high; what is used more than
// all others are each is surely here.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/gfid.h"

namespace polder {

struct HotFile {
  Gfid gfid;
  std::uint64_t count = 0;
  std::uint64_t over = 0;   // of `count`, what may belong to objects that were here before
  std::uint64_t bytes = 0;  // since it is here
  // Its fastest single operation: bytes per second, and how large that was.
  std::uint64_t best_rate = 0;
  std::uint32_t best_bytes = 0;
  std::chrono::nanoseconds best_at{};  // boot time
};

class HotFiles {
 public:
  void touch(const Gfid& gfid) { ++place_of(gfid).count; }
  /// Of a read or write: `bytes` moved in `took`, which ended at `now`.
  void moved(const Gfid& gfid, std::uint32_t bytes, std::chrono::nanoseconds took,
             std::chrono::nanoseconds now);

  /// The most used first.
  std::vector<HotFile> by_count(std::size_t most) const;
  /// The fastest first; without those that moved nothing.
  std::vector<HotFile> by_rate(std::size_t most) const;
  void clear();

 private:
  static constexpr std::size_t kSets = 64;
  static constexpr std::size_t kWays = 8;

  struct Set {
    std::array<std::uint64_t, kWays> tags{};  // one cache line; 0: free
    std::array<HotFile, kWays> files{};
  };

  HotFile& place_of(const Gfid& gfid);
  std::vector<HotFile> all() const;

  std::vector<Set> sets_ = std::vector<Set>(kSets);
};

}  // namespace polder
