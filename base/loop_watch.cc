// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/loop_watch.h"

#include <cerrno>

#include "base/suspend.h"

namespace polder {

namespace {

// Each look is a system call: with more of them epoll is cheaper.
constexpr std::size_t kLooksMax = 4;

}  // namespace

asio::execution_context::id LoopWatch::id;

LoopWatch& LoopWatch::of(const asio::any_io_executor& executor) {
  return asio::use_service<LoopWatch>(asio::query(executor, asio::execution::context));
}

Task<bool> LoopWatch::found(std::function<bool()> look) {
  if (!busy_ || looks_.size() >= kLooksMax) co_return false;
  const int code = co_await suspend([this, &look](std::shared_ptr<Waiter> waiter) {
    looks_.push_back({std::move(look), std::move(waiter)});
  });
  if (code == ECANCELED) std::erase_if(looks_, [](const Look& one) { return !one.waiter->waiting(); });
  co_return code == 0;
}

Task<bool> LoopWatch::found_in_line(const void* line, std::function<bool()> look) {
  if (!busy_ || (!lines_.contains(line) && lines_.size() >= kLooksMax)) co_return false;
  const int code = co_await suspend([this, line, &look](std::shared_ptr<Waiter> waiter) {
    lines_[line].push_back({std::move(look), std::move(waiter)});
  });
  co_return code == 0;
}

bool LoopWatch::look_at_lines() {
  bool found = false;
  for (auto at = lines_.begin(); at != lines_.end();) {
    auto& line = at->second;
    // One who was cancelled does not look any more: its task may be gone.
    while (!line.empty() && (!line.front().waiter->waiting() || line.front().look())) {
      found |= line.front().waiter->waiting();
      line.front().waiter->wake(0);
      line.pop_front();
    }
    at = line.empty() ? lines_.erase(at) : std::next(at);
  }
  return found;
}

bool LoopWatch::look() {
  bool found = look_at_lines();
  // A look may start tasks, which may add looks of their own.
  for (std::size_t i = 0; i < looks_.size();) {
    const auto waiter = looks_[i].waiter;
    if (!waiter->waiting()) {  // cancelled, and about to take itself out
      ++i;
      continue;
    }
    auto look = std::move(looks_[i].look);
    if (!look()) {
      looks_[i++].look = std::move(look);
      continue;
    }
    found = true;
    looks_.erase(looks_.begin() + static_cast<std::ptrdiff_t>(i));
    waiter->wake(0);
  }
  return found;
}

void LoopWatch::give_up() {
  for (auto& one : std::exchange(looks_, {})) one.waiter->wake(EAGAIN);
  for (auto& [key, line] : std::exchange(lines_, {}))
    for (auto& one : line) one.waiter->wake(EAGAIN);
}

}  // namespace polder
