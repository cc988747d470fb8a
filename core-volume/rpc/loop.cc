// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop.h"

#include <sched.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "base/loop_watch.h"
#include "core-volume/rpc/busy_poll.h"

namespace polder {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// Runs all that can run now. Whether anything did.
bool turn(boost::asio::io_context& context, LoopWatch& watch) {
  bool found = false;
  const std::size_t looks = watch.empty() ? 0 : 1;
  if (looks > 0) boost::asio::post(context, [&] { found = watch.look(); });
  return context.poll() > looks || found;
}

/// Returns true when something ran.
bool poll_for_a_while(boost::asio::io_context& context, LoopWatch& watch, BusyPoll& busy_poll) {
  auto now = SteadyClock::now();
  const auto until = now + busy_poll.length();
  do {
    if (turn(context, watch)) {
      busy_poll.looked(true, now);
      return true;
    }
    if (context.stopped()) return false;
    const auto offered_at = SteadyClock::now();
    sched_yield();
    now = SteadyClock::now();
    if (!busy_poll.yielded(now - offered_at, now)) return turn(context, watch);
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
  auto& watch = boost::asio::use_service<LoopWatch>(context);
  BusyPoll busy_poll(length);
  while (!context.stopped()) {
    if (turn(context, watch)) continue;
    const bool wanted = busy_poll.wanted(SteadyClock::now());
    watch.set_busy(wanted);
    if (wanted && poll_for_a_while(context, watch, busy_poll)) continue;
    if (context.stopped()) break;
    // Nobody may count on a look of ours while we sleep, nor who comes while they are sent away.
    watch.set_busy(false);
    if (!watch.empty()) {
      watch.give_up();
      context.poll();
    }
    watch.set_busy(wanted);
    const auto slept_at = SteadyClock::now();
    if (context.run_one() == 0) break;
    busy_poll.slept(SteadyClock::now() - slept_at);
  }
}

}  // namespace polder
