// SPDX-License-Identifier: GPL-3.0-or-later
// run_loop: the event loop of polderd and mount.polder, with a short busy poll before it sleeps.
#pragma once
#include <chrono>

namespace boost::asio {
class io_context;
}

namespace polder {

/// Runs `context` until it is stopped or out of work. Waking an idle CPU can cost more than a whole round
/// trip between two processes, so after work was done the loop looks again for up to `busy_poll` (giving the
/// CPU to others meanwhile) before it sleeps. It does so only while events come often and nobody else needs
/// the CPU (core-volume/rpc/busy_poll.h): an idle process sleeps. Zero: always sleep at once.
void run_loop(boost::asio::io_context& context, std::chrono::microseconds busy_poll);

}  // namespace polder
