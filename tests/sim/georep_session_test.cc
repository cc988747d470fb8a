// SPDX-License-Identifier: GPL-3.0-or-later
// What a session refuses, what verify finds, how rewritten files travel: two whole daemons on virtual time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/sim_world.h"

namespace polder {
namespace {

using testing::HasSubstr;

TEST(GeorepSession, OthersOnlyReadTheSecondary) {
  for_each_seed(1, 1, [](std::uint64_t seed) {
    SimWorld world(seed);
    world.pair();
    world.start_session();
    BorrowedStack stack(world.loop, world.mount);
    Client(stack).file(Gfid::root(), "file", "content");
    world.checkpoint();
    world.expect_equal();
  });
}

}  // namespace
}  // namespace polder
