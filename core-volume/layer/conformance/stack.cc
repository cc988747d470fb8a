// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/conformance/stack.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "base/coro.h"

namespace polder {

struct LoopStack::Loop {
  asio::io_context context{1};
};

LoopStack::LoopStack() : loop_(std::make_unique<Loop>()) {}
LoopStack::~LoopStack() = default;

boost::asio::any_io_executor LoopStack::executor() {
  return loop_->context.get_executor();
}

void LoopStack::run(std::vector<Task<void>> tasks) {
  std::size_t running = tasks.size();
  std::exception_ptr thrown;
  for (Task<void>& task : tasks) {
    asio::co_spawn(loop_->context, std::move(task), [&](std::exception_ptr exception) {
      --running;
      if (exception && !thrown) thrown = exception;
    });
  }
  loop_->context.restart();
  while (running > 0) {
    if (loop_->context.run_one() > 0) continue;
    ADD_FAILURE() << running << " operation(s) wait for what never comes";
    return;
  }
  if (thrown) std::rethrow_exception(thrown);
}

void PrintTo(const ConformanceTarget& target, std::ostream* out) {
  *out << target.name;
}

}  // namespace polder
