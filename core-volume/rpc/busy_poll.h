// SPDX-License-Identifier: GPL-3.0-or-later
// BusyPoll: when a loop looks for more work instead of sleeping. Only while events come often, only while
// looks find something, and only while nobody else wants the CPU: with others waiting for it, each look costs
// one of their time slices, while a sleeper is woken ahead of them. Plain state, on times that the loop
// measures.
#pragma once
#include <algorithm>
#include <chrono>

namespace polder {

class BusyPoll {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  /// Looks for up to `length`; zero: never.
  explicit BusyPoll(std::chrono::microseconds length) : length_(length) {}

  Duration length() const { return length_; }
  bool wanted(Time now) const { return length_.count() > 0 && traffic_ && now >= sleep_until_; }
  /// The loop slept for so long: a short sleep means traffic, for which it pays to stay awake.
  void slept(Duration time) { traffic_ = time < kTrafficFactor * length_; }
  /// The CPU was offered to others and came back after so long. False: they need it, the loop is to sleep,
  /// for a while and for longer each time.
  bool yielded(Duration time, Time now) {
    if (time <= kYieldFactor * length_) return true;
    pause(now);
    return false;
  }
  /// A whole look ended, with something to do or in vain.
  void looked(bool found, Time now) {
    misses_ = found ? 0 : misses_ + 1;
    if (found) pause_ = std::max<Duration>(pause_ / 2, kPauseMin);
    if (misses_ < kMissesMax) return;
    misses_ = 0;
    pause(now);
  }

 private:
  void pause(Time now) {
    sleep_until_ = now + pause_;
    pause_ = std::min<Duration>(2 * pause_, kPauseMax);
  }

  static constexpr int kTrafficFactor = 20;
  static constexpr int kYieldFactor = 4;  // whoever waits for our answer may run a little
  static constexpr int kMissesMax = 4;    // in a row
  static constexpr Duration kPauseMin = std::chrono::milliseconds(10);
  static constexpr Duration kPauseMax = std::chrono::seconds(1);

  const Duration length_;
  bool traffic_ = false;
  Time sleep_until_{};
  Duration pause_ = kPauseMin;
  int misses_ = 0;
};

}  // namespace polder
