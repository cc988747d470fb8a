// SPDX-License-Identifier: GPL-3.0-or-later
// The whole brick does what every volume does: on the simulated disk, and on the kernel's file system with
// and without threads.
#include <unistd.h>

#include "core-volume/graph/brick_test_support.h"
#include "core-volume/layer/conformance/conformance.h"

namespace polder {
namespace {

class ThreadedKernelBrick : public KernelBrick {
 public:
  ThreadedKernelBrick() : KernelBrick(make_thread_workers(3)) {}
};

class InlineKernelBrick : public KernelBrick {
 public:
  InlineKernelBrick() : KernelBrick(make_inline_workers()) {}
};

std::vector<ConformanceTarget> targets() {
  const ConformanceFeatures features{.locks = true};
  std::vector<ConformanceTarget> list{conformance_target<SimBrick>("sim_brick", features)};
  if (::geteuid() == 0) {  // trusted extended attributes; without root tools/check says what is left out
    list.push_back(conformance_target<ThreadedKernelBrick>("kernel_brick_threads", features));
    list.push_back(conformance_target<InlineKernelBrick>("kernel_brick_inline", features));
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Bricks, Conformance, testing::ValuesIn(targets()), conformance_name);

}  // namespace
}  // namespace polder
