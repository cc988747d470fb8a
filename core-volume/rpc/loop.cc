// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop.h"

#include <sched.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "base/loop_watch.h"
#include "core-volume/rpc/busy_poll.h"
#include "core-volume/rpc/loop_partner.h"

namespace polder {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kLooksPerTurn = 4;

/// Runs all that can run now. Whether anything did.
bool turn(boost::asio::io_context& context, LoopWatch& watch) {
  bool found = false;
  const std::size_t looks = watch.empty() ? 0 : 1;
  if (looks > 0) boost::asio::post(context, [&] { found = watch.look(); });
  return context.poll() > looks || found;
}

/// Offers the CPU, then looks, a few times; then what the reactor knows has its turn, which costs as much as
/// several looks and is rarely the first to know. True when something ran; false with `sent_away` when others
/// need the CPU.
bool look_a_few_times(boost::asio::io_context& context, LoopWatch& watch, BusyPoll& busy_poll,
                      bool& sent_away) {
  bool found = false;
  boost::asio::post(context, [&] {
    for (int looks = watch.empty() ? 1 : kLooksPerTurn; looks > 0 && !found && !sent_away; --looks) {
      const auto offered_at = SteadyClock::now();
      sched_yield();
      const auto now = SteadyClock::now();
      sent_away = !busy_poll.yielded(now - offered_at, now);
      found = watch.look();
    }
  });
  return context.poll() > 1 || found;
}

/// Returns true when something ran.
bool poll_for_a_while(boost::asio::io_context& context, LoopWatch& watch, BusyPoll& busy_poll) {
  auto now = SteadyClock::now();
  const auto until = now + busy_poll.length();
  bool sent_away = false;
  while (now < until && !sent_away && !context.stopped()) {
    const bool ran = look_a_few_times(context, watch, busy_poll, sent_away);
    now = SteadyClock::now();
    if (!ran) continue;
    busy_poll.looked(true, now);
    return true;
  }
  if (!sent_away) busy_poll.looked(false, now);
  return false;
}

}  // namespace

void run_loop(boost::asio::io_context& context, std::chrono::microseconds length) {
  if (length.count() == 0) {
    context.run();
    return;
  }
  auto& watch = boost::asio::use_service<LoopWatch>(context);
  auto& partner = boost::asio::use_service<LoopPartner>(context);
  BusyPoll busy_poll(length);
  while (!context.stopped()) {
    if (turn(context, watch)) continue;
    const auto now = SteadyClock::now();
    const bool wanted = busy_poll.wanted(now) && !watch.is_to_rest();
    watch.set_busy(wanted);
    partner.keep_apart(now);
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
