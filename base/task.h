// SPDX-License-Identifier: GPL-3.0-or-later
// Task<T>: a coroutine of one operation. Only declared here, so that interfaces do not include Asio; a .cc
// file that defines or awaits one includes base/coro.h.
#pragma once
#include "base/result.h"

namespace boost::asio {
class any_io_executor;
template <typename T, typename Executor>
class awaitable;
}  // namespace boost::asio

namespace polder {

/// Lazy: nothing runs before it is awaited (or spawned in a TaskGroup). Runs on the executor of its awaiter.
template <typename T = void>
using Task = boost::asio::awaitable<T, boost::asio::any_io_executor>;

}  // namespace polder
