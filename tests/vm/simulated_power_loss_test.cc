// SPDX-License-Identifier: GPL-3.0-or-later
// The same workload and the same check on the simulated disk, where each file keeps what it likes of what was
// not synced: many more power losses than real file systems can be given, and each a function of its seed.
#include <gmock/gmock.h>

#include <random>

#include "base/concurrency.h"
#include "core-volume/graph/volume_stack_test_support.h"
#include "core-volume/layer/conformance/conformance.h"
#include "tests/support/seeds.h"
#include "tests/vm/story.h"
#include "tests/workload/look.h"
#include "tests/workload/volume_client.h"

namespace polder {
namespace {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Conformance);

constexpr std::size_t kClients = 5;

class SimulatedPowerLossTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  /// Checkpoints and sealed segments all the time.
  static void configure(SimVolume& node) {
    node.stop();
    for (auto& [set, brick] : node.config.bricks) {
      brick.journal.segment_bytes = 256 << 10;
      brick.journal.checkpoint_interval_s = 0;
      brick.ordering.maintain_interval = std::chrono::milliseconds(500);
    }
    node.start();
  }

  /// Until `steps` of each client have ended, with time going on between them.
  static void run(SimVolume& node, std::vector<std::unique_ptr<VolumeClient>>& clients, int steps) {
    TaskGroup group("clients");
    for (auto& client : clients) group.spawn(node.loop.executor(), client->act(node.ops(), steps));
    node.loop.run_until_done(group.wait_idle());
  }
};

TEST_P(SimulatedPowerLossTest, WhatWasSyncedIsThere) {
  const auto all_seeds = seeds(12, 400);
  std::size_t certain = 0;
  for (auto seed : all_seeds) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    SimVolume node(GetParam(), GetParam() == 1 ? Spread::kDirs : Spread::kFiles, seed, GetParam() > 1);
    configure(node);
    History history(kClients);
    Clients all;
    std::vector<std::unique_ptr<VolumeClient>> clients;
    for (std::size_t i = 0; i < kClients; ++i)
      clients.push_back(std::make_unique<VolumeClient>(
          i, seed * 100 + i, all, history, [&](std::size_t number) { history.acknowledged(number); }));
    std::mt19937_64 random(seed);
    for (auto moments = 1 + random() % 8; moments > 0; --moments) {
      run(node, clients, 1 + static_cast<int>(random() % 10));
      node.loop.run_for(std::chrono::milliseconds(random() % 200));
    }
    run(node, clients, 2);
    ASSERT_THAT(all.unexpected, testing::IsEmpty());
    const auto acks = history.acknowledgements();
    node.lose_power(random());
    node.start();
    ASSERT_THAT(node.problems(), testing::IsEmpty());
    const auto problems = history.problems(must(node.run_one(look(node.ops()))), acks);
    if (!problems.empty()) fmt::print("{}", records_of(*node.stack));
    ASSERT_THAT(problems, testing::IsEmpty());
    certain += history.certain(acks);
  }
  if (all_seeds.size() > 1) EXPECT_GT(certain, 10 * all_seeds.size());
}

INSTANTIATE_TEST_SUITE_P(Bricks, SimulatedPowerLossTest, testing::Values(1, 3),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace polder
