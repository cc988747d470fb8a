// SPDX-License-Identifier: GPL-3.0-or-later
// SimStack: a stack on virtual time, for layers that wait. Everything in it must be simulated.
#pragma once
#include "core-volume/layer/conformance/stack.h"
#include "tests/support/loop.h"

namespace polder {

class SimStack : public Stack {
 public:
  void run(std::vector<Task<void>> tasks) override;

  SimLoop loop;
};

}  // namespace polder
