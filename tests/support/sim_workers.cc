// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_workers.h"

#include <deque>
#include <map>

#include "tests/support/loop.h"

namespace polder {

struct SimWorkers::State : std::enable_shared_from_this<State> {
  using Job = std::move_only_function<void()>;

  State(SimClock& clock, boost::asio::any_io_executor executor, Random& random,
        const SimWorkersOptions& options, Trace* trace, std::size_t actor)
      : clock(clock),
        executor(std::move(executor)),
        random(random),
        options(options),
        trace(trace),
        actor(actor) {}

  SimClock& clock;
  const boost::asio::any_io_executor executor;
  Random& random;
  const SimWorkersOptions& options;
  Trace* const trace;
  const std::size_t actor;
  std::deque<Job> waiting;
  std::map<std::uint64_t, Job> under_way;  // by number: gone when the pool has ended
  std::uint64_t started = 0;

  nanoseconds duration() {
    const auto most = random.below(options.slow_one_in) == 0 ? options.slow : options.usual;
    return nanoseconds(random.below(static_cast<std::uint64_t>(most.count()) + 1));
  }

  void start_jobs() {
    while (under_way.size() < options.threads && !waiting.empty()) {
      under_way[++started] = std::move(waiting.front());
      waiting.pop_front();
      detail::start(executor, take_time(shared_from_this(), started));
    }
  }

  static Task<void> take_time(std::shared_ptr<State> self, std::uint64_t number) {
    (void)co_await self->clock.sleep_for(self->duration());
    self->end(number);
  }

  void end(std::uint64_t number) {
    auto ended = under_way.extract(number);
    if (ended.empty()) return;
    if (trace) trace->add(actor, "job", number);
    ended.mapped()();
    start_jobs();
  }
};

SimWorkers::SimWorkers(SimClock& clock, const boost::asio::any_io_executor& executor, Random& random,
                       const SimWorkersOptions& options, Trace* trace, std::size_t actor)
    : state_(std::make_shared<State>(clock, executor, random, options, trace, actor)) {}

SimWorkers::~SimWorkers() {
  while (!state_->under_way.empty()) state_->end(state_->under_way.begin()->first);
}

void SimWorkers::submit(std::move_only_function<void()> job) {
  state_->waiting.push_back(std::move(job));
  state_->start_jobs();
}

}  // namespace polder
