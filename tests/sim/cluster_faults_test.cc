// SPDX-License-Identifier: GPL-3.0-or-later
// Several machines change a volume while connections break, the daemon is killed and the power goes. What was
// acknowledged is there, what an fsync was acknowledged for survives the loss of power, and nothing is there
// that nobody made.
#include <gmock/gmock.h>

#include "base/concurrency.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/sim_world.h"
#include "tests/workload/look.h"
#include "tests/workload/volume_client.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;

constexpr const char* kMayBeLost = "the server has lost power, and perhaps what was written since";

class ClusterRun {
 public:
  explicit ClusterRun(std::uint64_t seed)
      : random_(make_seeded_random(seed ^ 0xbb67ae8584caa73b)),
        world_(seed, {.bricks = below(2) == 0 ? 1U : 3U,
                      .spread = below(2) == 0 ? Spread::kDirs : Spread::kFiles,
                      .mounts = 2 + below(4)}),
        history_(world_.mounts.size()) {
    for (std::size_t i = 0; i < world_.mounts.size(); ++i)
      clients_.push_back(std::make_unique<VolumeClient>(
          i, seed * 100 + i, all_, history_, [&](std::size_t number) { history_.acknowledged(number); }));
  }

  void run() {
    for (auto phases = 2 + below(4); phases > 0; --phases) {
      start_clients(40);
      while (group_.size() > 0) {
        world_.loop.run_for(world_.some(300ms));
        fault();
      }
      // A kill loses nothing, synced or not.
      auto exact = history_;
      exact.acknowledged(exact.acknowledge(exact.cover_of_sync()));
      expect_well(exact);
      if (testing::Test::HasFailure()) return;
    }
    lose_power();
    expect_well(history_);
  }
  std::uint64_t steps() const { return steps_; }
  std::uint64_t faults() const { return faults_; }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_->below(bound); }
  SimMount& any_mount() { return *world_.mounts[below(world_.mounts.size())]; }

  void start_clients(int steps) {
    for (std::size_t i = 0; i < clients_.size(); ++i)
      group_.spawn(world_.loop.executor(), clients_[i]->act(world_.mounts[i]->ops(), steps));
    steps_ += clients_.size() * static_cast<std::uint64_t>(steps);
  }

  void fault() {
    ++faults_;
    const auto& machine = any_mount().name();
    switch (below(9)) {
      case 0:
        world_.network.reset("site", machine);
        break;
      case 1:
        world_.network.partition("site", machine);
        world_.loop.run_for(world_.some(below(4) == 0 ? 40s : 1s));
        world_.network.heal("site", machine);
        break;
      case 2:
        world_.network.block("site", machine);  // it hears nothing, and is heard
        world_.loop.run_for(world_.some(2s));
        world_.network.unblock("site", machine);
        break;
      case 3:
        world_.site.kill();
        world_.loop.run_for(world_.some(2s));
        world_.site.boot();
        break;
      case 4:
        kill_at(world_.site.any_disk(*random_), false);
        break;
      case 5: {
        const auto least = 50us + world_.some(5ms);
        world_.network.set_delay(least, least + world_.some(20ms));
        break;
      }
      case 6:
        any_mount().clock().set_wall_skew(world_.some(1s));
        break;
      case 7:
        kill_at(world_.site.any_disk(*random_), true);
        break;
      default:
        --faults_;
    }
  }

  /// At a system call of its own. `disk_fails`: that one and all that follow, so that a sync drops what it
  /// was to make safe, and the disk cannot be told of it. It is well again when the daemon is back.
  void kill_at(SimDisk& disk, bool disk_fails) {
    const auto call = 1 + below(200);
    if (disk_fails) {
      disk.fail_nth(call, EIO, true);
    } else {
      disk.freeze_at(call);
    }
    // In steps shorter than any way to a client: none may hear of the disk that fails.
    for (int i = 0; i < 10'000 && !disk.fault_fired(); ++i) world_.loop.run_for(20us);
    world_.site.kill();
    world_.site.boot();
  }

  /// In the middle of everything; what is under way ends after it.
  void lose_power() {
    start_clients(40);
    world_.loop.run_for(world_.some(3s));
    all_.stop = all_.power_lost = true;
    world_.site.lose_power(random_->next());
    world_.loop.run_for(world_.some(2s));
    world_.site.boot();
    world_.loop.run_until_done(group_.wait_idle());
    ++faults_;
  }

  void expect_well(const History& history) {
    // After a failed sync, as after a power loss (P6): once, and it was not acknowledged.
    std::erase_if(all_.unexpected, [](const std::string& error) { return error.contains(kMayBeLost); });
    EXPECT_THAT(all_.unexpected, IsEmpty());
    EXPECT_THAT(world_.problems(), IsEmpty());
    const auto found = must(world_.loop.run_until_done(look(world_.site.stack().top())));
    EXPECT_THAT(history.problems(found, history.acknowledgements()), IsEmpty());
    if (testing::Test::HasFailure())
      for (const auto& event : world_.trace.last()) fmt::print(stderr, "{}\n", event);
  }

  std::unique_ptr<Random> random_;
  ClusterWorld world_;
  History history_;
  Clients all_;
  std::vector<std::unique_ptr<VolumeClient>> clients_;
  TaskGroup group_{"clients"};
  std::uint64_t steps_ = 0;
  std::uint64_t faults_ = 0;
};

TEST(ClusterFaults, WhatWasAcknowledgedIsThere) {
  std::uint64_t steps = 0, faults = 0;
  for_each_seed(seeds(4, 200), [&](std::uint64_t seed) {
    ClusterRun run(seed);
    run.run();
    steps += run.steps();
    faults += run.faults();
  });
  EXPECT_GT(faults, 5u);
  fmt::print("{} steps, {} faults\n", steps, faults);
}

}  // namespace
}  // namespace polder
