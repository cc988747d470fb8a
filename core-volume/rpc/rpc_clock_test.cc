// SPDX-License-Identifier: GPL-3.0-or-later
// A server and a client whose wall clocks disagree by hours, or jump: a client goes by its server's time.
#include "core-volume/rpc/rpc_test_support.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid kRoot = Gfid::root();

class RpcClockTest : public ::testing::Test {
 protected:
  ~RpcClockTest() override {
    if (client) world.stop(*client);
  }

  void connect() {
    client = std::make_unique<RpcClient>(seams, world.loop.executor(), world.client_options("elsewhere"));
    auto begun = world.run(client->start());
    ASSERT_TRUE(begun) << begun.error().message();
  }
  Task<Result<FileAttr>> mkdir(std::string name) {
    co_return co_await client->mkdir(world.ctx, kRoot, name, NewObject{.mode = 0755});
  }
  bool works() {
    auto made = world.begin(mkdir("d" + std::to_string(++made_)));
    world.loop.run_for(5s);
    return made->has_value() && (*made)->has_value();
  }
  bool works_also_after_a_break_and_a_restart() {
    if (!works()) return false;
    world.net.break_all();
    if (!works()) return false;
    world.restart_server();
    return works();
  }

  RpcWorld world;  // its clock is the server's
  SkewedClock clock{world.loop.clock(), 0s};
  HlcClock hlc{clock};
  Seams seams{clock, *world.random, *world.disk, world.net, *world.workers, hlc};
  std::unique_ptr<RpcClient> client;

 private:
  int made_ = 0;
};

TEST_F(RpcClockTest, TheServersGoesForthAndBackByHours) {
  connect();
  ASSERT_TRUE(works());
  world.loop.clock().step_wall(3h);
  clock.set_wall_skew(-3h);
  EXPECT_TRUE(works_also_after_a_break_and_a_restart());
  world.loop.clock().step_wall(-3h);
  clock.set_wall_skew(0s);
  EXPECT_TRUE(works_also_after_a_break_and_a_restart());
  world.stop(*client);
  connect();  // another mount finds a volume whose time is ahead of the clock
  EXPECT_TRUE(works());
}

TEST_F(RpcClockTest, TheServersGoesBackByHours) {
  connect();
  ASSERT_TRUE(works());
  world.loop.clock().step_wall(-3h);
  clock.set_wall_skew(3h);
  EXPECT_TRUE(works_also_after_a_break_and_a_restart());
}

TEST_F(RpcClockTest, TheClientsGoesForthAndBackByHours) {
  connect();
  for (auto skew : {3h, -3h, 0h}) {
    clock.set_wall_skew(skew);
    EXPECT_TRUE(works_also_after_a_break_and_a_restart());
  }
  const auto ahead = world.hlc.last().ns;
  EXPECT_LT(ahead, static_cast<std::uint64_t>((world.loop.clock().wall_time() + 1h).count()))
      << "a client's clock has moved its server's";
}

}  // namespace
}  // namespace polder
