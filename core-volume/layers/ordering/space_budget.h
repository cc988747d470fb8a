// SPDX-License-Identifier: GPL-3.0-or-later
// SpaceBudget: whether a change has room, asked before it is in the log. The file system is asked only now
// and then: always when space is short. Any thread.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "core-volume/layers/ordering/space_reserve.h"
#include "core-volume/layers/store/store.h"

namespace polder {

class SpaceBudget {
 public:
  SpaceBudget(Clock& clock, Store& store, SpaceReserve& reserve)
      : clock_(clock), store_(store), reserve_(reserve) {}

  /// Whether a change of so many bytes has room, as far as is known. What is there counts as used then.
  bool has_room(std::uint64_t bytes);
  /// Asks the file system. ENOSPC before anything is appended. On a worker, and not within short work: it may
  /// sync the file system.
  Result<void> find_room(std::uint64_t bytes);
  /// The file system has refused a change: the next one asks.
  void forget() { left_bytes_ = 0; }
  /// Something was removed: looking for room may not be in vain now.
  void freed() { written_back_ns_ = kLongAgo_ns; }

 private:
  Result<std::int64_t> available_bytes();
  void write_back(std::uint64_t bytes);

  Clock& clock_;
  Store& store_;
  SpaceReserve& reserve_;
  std::atomic<std::int64_t> left_bytes_{0};  // that may be used before statfs is asked again
  // Boot time when room was last looked for in vain.
  static constexpr std::int64_t kLongAgo_ns = -1'000'000'000;
  std::atomic<std::int64_t> written_back_ns_{kLongAgo_ns};
};

}  // namespace polder
