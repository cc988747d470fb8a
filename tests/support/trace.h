// SPDX-License-Identifier: GPL-3.0-or-later
// Trace: what happened in a simulated world, in order: each call of a disk, each piece of a stream that
// arrives, each job of a worker, each fault. Two runs of one seed have the same hash; the last events are for
// who looks for the reason of a failure. Loop thread only.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/sim_clock.h"

namespace polder {

class Trace {
 public:
  explicit Trace(const SimClock& clock) : clock_(clock) {}

  /// Of a host, a disk, …: what `who` is in add().
  std::size_t actor(std::string name);
  /// `what` lives for ever, as the name of a function does.
  void add(std::size_t who, std::string_view what, std::uint64_t number = 0);

  std::uint64_t hash() const { return hash_; }
  std::uint64_t events() const { return events_; }
  /// The latest, at most kLast, oldest first: "12.003456 east/brick1: fsync 3".
  std::vector<std::string> last() const;
  static constexpr std::size_t kLast = 50;

 private:
  struct Event {
    nanoseconds when{};
    std::size_t who = 0;
    std::string_view what;
    std::uint64_t number = 0;
  };

  const SimClock& clock_;
  std::vector<std::string> actors_;
  std::vector<Event> ring_;
  std::uint64_t events_ = 0;
  std::uint64_t hash_ = 0;
};

}  // namespace polder
