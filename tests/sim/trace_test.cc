// SPDX-License-Identifier: GPL-3.0-or-later
// A run is a function of its seed: nothing in it may depend on the machine.
#include <gmock/gmock.h>

#include "tests/sim/sim_world.h"
#include "tests/workload/application.h"

namespace polder {
namespace {

struct Run {
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  std::vector<std::string> last;
  bool operator==(const Run&) const = default;
};

Run run(std::uint64_t seed) {
  log_only_what_was_asked_for();
  SimWorld world(seed);
  auto random = make_seeded_random(seed);
  Application application(world.mount, world.loop.clock(), *random, {.max_write_bytes = 50'000});
  world.loop.run_until_done(application.run(30));
  world.pair();
  world.start_session();
  world.loop.run_until_done(application.run(30));
  world.network.reset("east", "west");
  world.east.kill();
  world.east.boot();
  world.loop.run_until_done(application.run(30));
  world.west.lose_power(seed);
  world.west.boot();
  world.checkpoint();
  return {world.trace.hash(), world.trace.events(), world.trace.last()};
}

TEST(TraceOfAWorld, IsAFunctionOfItsSeed) {
  const auto first = run(1), again = run(1), another = run(2);
  RecordProperty("hash", fmt::format("{:016x}", first.hash));
  EXPECT_EQ(first.events, again.events);
  EXPECT_EQ(first.hash, again.hash);
  EXPECT_EQ(first.last, again.last);
  EXPECT_NE(first.hash, another.hash);
  EXPECT_GT(first.events, 1000u);
}

}  // namespace
}  // namespace polder
