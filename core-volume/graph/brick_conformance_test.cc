// SPDX-License-Identifier: GPL-3.0-or-later
// The whole brick does what every volume does: on the simulated disk, and on the kernel's file system with
// and without threads.
#include <unistd.h>

#include <filesystem>

#include "core-volume/graph/brick_test_support.h"
#include "core-volume/layer/conformance/conformance.h"

namespace polder {
namespace {

class KernelBrick : public LoopStack {
 public:
  explicit KernelBrick(std::unique_ptr<Workers> workers) : workers_(std::move(workers)) {
    std::string name = std::filesystem::temp_directory_path() / "polder-brick-XXXXXX";
    path_ = ::mkdtemp(name.data());
    config_.path = path_ + "/b";
    must(Brick::format(seams_, config_.path, kBrickIdentity));
    LoopStack::run(tasks(start()));
  }
  ~KernelBrick() override {
    LoopStack::run(tasks(stop()));
    brick_.reset();
    std::filesystem::remove_all(path_);
  }
  FileOps& ops() override { return brick_->top(); }

 private:
  static std::vector<Task<void>> tasks(Task<void> task) {
    std::vector<Task<void>> list;
    list.push_back(std::move(task));
    return list;
  }
  Task<void> start() { brick_ = must(co_await Brick::start(seams_, config_)); }
  Task<void> stop() { must(co_await brick_->stop()); }

  std::string path_;
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  std::unique_ptr<Workers> workers_;
  NoTransport transport_;
  HlcClock hlc_{*clock_};
  Seams seams_{*clock_, *random_, *disk_, transport_, *workers_, hlc_};
  BrickConfig config_;
  std::unique_ptr<Brick> brick_;
};

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
