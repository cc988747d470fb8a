// SPDX-License-Identifier: GPL-3.0-or-later
// SimWorkers: a pool of threads on virtual time. Jobs start in their order, so many at once; each takes a
// random time and happens whole at its end, so jobs that run beside one another end in any order. Within a
// job nothing else happens: races between threads are tsan's to find. Loop thread only.
//
// A call of a SimDisk takes no time of its own; the job that makes it does, before its calls happen all at
// once. So it is a machine's storage that is slow (longer times in the options), not one disk of several:
// what a job will use is not known before it has run.
#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "base/random.h"
#include "base/workers.h"
#include "tests/support/sim_clock.h"
#include "tests/support/trace.h"

namespace polder {

struct SimWorkersOptions {
  unsigned threads = 4;
  nanoseconds usual = std::chrono::microseconds(100);  // a job takes up to so long,
  nanoseconds slow = std::chrono::milliseconds(20);    // or up to so long:
  unsigned slow_one_in = 50;                           // one of so many
};

class SimWorkers final : public Workers {
 public:
  /// Clock, random and options outlive the pool; `trace`, if not null, too. Options may change at any time:
  /// for jobs that start then.
  SimWorkers(SimClock& clock, const boost::asio::any_io_executor& executor, Random& random,
             const SimWorkersOptions& options, Trace* trace, std::size_t actor);
  /// Finishes what was submitted.
  ~SimWorkers() override;
  void submit(std::move_only_function<void()> job) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace polder
