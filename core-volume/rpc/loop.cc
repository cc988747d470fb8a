// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop.h"

#include <sched.h>

#include <boost/asio/io_context.hpp>

#include "core-volume/rpc/busy_poll.h"

namespace polder {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// Returns true when something ran.
bool poll_for_a_while(boost::asio::io_context& context, BusyPoll& busy_poll) {
  auto now = SteadyClock::now();
  const auto until = now + busy_poll.length();
  do {
    if (context.poll() > 0) {
      busy_poll.looked(true, now);
      return true;
    }
    if (context.stopped()) return false;
    const auto offered_at = SteadyClock::now();
    sched_yield();
    now = SteadyClock::now();
    if (!busy_poll.yielded(now - offered_at, now)) return context.poll() > 0;
  } while (now < until);
  busy_poll.looked(false, now);
  return false;
}

}  // namespace

void run_loop(boost::asio::io_context& context, std::chrono::microseconds length) {
  if (length.count() == 0) {
    context.run();
    return;
  }
  BusyPoll busy_poll(length);
  while (!context.stopped()) {
    if (context.poll() > 0) continue;
    const auto idle_at = SteadyClock::now();
    if (busy_poll.wanted(idle_at) && poll_for_a_while(context, busy_poll)) continue;
    if (context.stopped()) break;
    const auto slept_at = SteadyClock::now();
    if (context.run_one() == 0) break;
    busy_poll.slept(SteadyClock::now() - slept_at);
  }
}

}  // namespace polder
