// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/hlc.h"

#include <algorithm>

#include "base/clock.h"

namespace polder {

namespace {

std::uint64_t wall_ns(const Clock& clock) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, clock.wall_time().count()));
}

}  // namespace

Hlc HlcClock::next() {
  std::uint64_t wall = wall_ns(clock_);
  std::uint64_t last = __atomic_load_n(&last_, __ATOMIC_ACQUIRE);
  std::uint64_t stamp;
  do {
    stamp = std::max(wall, last + 1);
  } while (!__atomic_compare_exchange_n(&last_, &last, stamp, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
  return {stamp};
}

Result<void> HlcClock::observe(Hlc seen) {
  if (seen <= last()) return {};
  const auto known = std::max(wall_ns(clock_), __atomic_load_n(&history_, __ATOMIC_ACQUIRE));
  if (seen.ns > known && seen.ns - known > kMaxAhead_ns) {
    return Error(ERANGE).with(
        "time stamp from the network is {} s ahead of this machine's clock (at most {} s are accepted): "
        "check "
        "the clocks of both machines",
        (seen.ns - known) / 1'000'000'000, kMaxAhead_ns / 1'000'000'000);
  }
  raise(last_, seen);
  return {};
}

void HlcClock::observe_own(Hlc seen) {
  raise(last_, seen);
  raise(history_, seen);
}

void HlcClock::raise(std::uint64_t& stamp, Hlc seen) {
  std::uint64_t before = __atomic_load_n(&stamp, __ATOMIC_ACQUIRE);
  while (before < seen.ns &&
         !__atomic_compare_exchange_n(&stamp, &before, seen.ns, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
  }
}

}  // namespace polder
