// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop.h"

#include <sched.h>

#include <boost/asio/io_context.hpp>

namespace polder {
namespace {

using SteadyClock = std::chrono::steady_clock;

// A sleep shorter than so many busy polls means traffic: it pays to look for the next event for a while.
constexpr int kTrafficFactor = 20;

/// Returns true when something ran.
bool poll_for(boost::asio::io_context& context, std::chrono::microseconds busy_poll) {
  const auto until = SteadyClock::now() + busy_poll;
  do {
    if (context.poll() > 0) return true;
    if (context.stopped()) return false;
    sched_yield();
  } while (SteadyClock::now() < until);
  return false;
}

}  // namespace

void run_loop(boost::asio::io_context& context, std::chrono::microseconds busy_poll) {
  if (busy_poll.count() == 0) {
    context.run();
    return;
  }
  bool traffic = false;
  while (!context.stopped()) {
    if (context.poll() > 0) continue;
    if (traffic && poll_for(context, busy_poll)) continue;
    if (context.stopped()) break;
    const auto slept_at = SteadyClock::now();
    if (context.run_one() == 0) break;
    traffic = SteadyClock::now() - slept_at < kTrafficFactor * busy_poll;
  }
}

}  // namespace polder
