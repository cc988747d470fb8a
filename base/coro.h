// SPDX-License-Identifier: GPL-3.0-or-later
// What a .cc file needs to write coroutines. Never included from a header other than the helpers beside it.
#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/task.h"

namespace polder {
namespace asio = boost::asio;

/// Whether the calling task was cancelled. Who awaits an Asio operation directly checks this before each one:
/// see the cancellation policy in base/concurrency.h.
Task<bool> is_cancelled();

}  // namespace polder
