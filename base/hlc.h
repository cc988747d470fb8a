// SPDX-License-Identifier: GPL-3.0-or-later
// HLC: hybrid logical clock (Kulkarni et al. 2014), packed into one 64-bit number of nanoseconds.
#pragma once
#include <compare>
#include <cstdint>
#include <ctime>

#include "base/result.h"

namespace polder {

/// Nanoseconds since the epoch (good until the year 2554). The logical part is not a field of its own: an
/// event that the wall clock does not separate from the one before gets the next nanosecond. So an HLC is
/// also the time that a leader assigns to a change (mtime, ctime), unique within its set.
struct Hlc {
  std::uint64_t ns = 0;

  auto operator<=>(const Hlc&) const = default;
  timespec to_timespec() const {
    return {static_cast<std::time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  }
};

class Clock;

/// One per process. Loop thread and workers may call it: it is a single atomic.
class HlcClock {
 public:
  /// How far ahead of our wall clock, and of our own history, a stamp from the network may be before it is
  /// refused.
  static constexpr std::uint64_t kMaxAhead_ns = 300ull * 1'000'000'000;

  explicit HlcClock(Clock& clock) : clock_(clock) {}

  /// A stamp for a new event: above every stamp made or seen before, and not below the wall clock.
  Hlc next();
  /// Highest stamp made or seen; makes no new one.
  Hlc last() const { return {__atomic_load_n(&last_, __ATOMIC_ACQUIRE)}; }
  /// Takes note of a stamp from a message. ERANGE names the difference when it is too far ahead: then the
  /// clock is not moved, since one wrong clock must not drag the whole cluster along. A stamp that is no news
  /// is never refused: ours come back to us from clients, also when our wall clock was set back meanwhile.
  Result<void> observe(Hlc seen);
  /// The same without the check: for stamps in our own log, which are history whatever the clock says now,
  /// and for those of a client's server, whose time is the volume's.
  void observe_own(Hlc seen);

 private:
  void raise(std::uint64_t& stamp, Hlc seen);

  Clock& clock_;
  std::uint64_t last_ = 0;
  std::uint64_t history_ =
      0;  // highest of observe_own(): what was made before this process may go a little beyond it
};

}  // namespace polder
