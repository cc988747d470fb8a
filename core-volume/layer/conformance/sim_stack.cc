// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/conformance/sim_stack.h"

#include "base/concurrency.h"

namespace polder {

void SimStack::run(std::vector<Task<void>> tasks) {
  TaskGroup group("operations of a test");
  for (Task<void>& task : tasks) group.spawn(loop.executor(), std::move(task));
  loop.run_until_done(group.wait_idle());
}

}  // namespace polder
