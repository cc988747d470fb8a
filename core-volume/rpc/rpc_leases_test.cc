// SPDX-License-Identifier: GPL-3.0-or-later
// Leases on their way between a server and its clients, on virtual time.
#include <fcntl.h>

#include "core-volume/rpc/rpc_test_support.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid kRoot = Gfid::root();

class RpcLeasesTest : public testing::Test {
 protected:
  RpcWorld world;
  std::unique_ptr<RpcClient> client = world.connect();
  std::unique_ptr<RpcClient> other = world.connect("other");
  std::vector<Gfid> recalls;

  RpcLeasesTest() {
    client->on_recall([this](const Gfid& gfid) { recalls.push_back(gfid); });
  }
  ~RpcLeasesTest() override {
    client->on_recall({});
    world.stop(*client);
    world.stop(*other);
  }

  FileAttr mkdir(RpcClient& by, std::string name) {
    auto task = [](RpcClient& by, OpContext ctx, std::string name) -> Task<Result<FileAttr>> {
      co_return co_await by.mkdir(ctx, kRoot, name, NewObject{.mode = 0755});
    };
    auto made = world.run(task(by, world.ctx, std::move(name)));
    EXPECT_TRUE(made);
    return made ? *made : FileAttr{};
  }
  LeaseAsk lookup(std::string_view name) {
    LeaseAsk ask;
    OpContext ctx = world.ctx;
    ctx.leases = &ask;
    (void)world.run(client->lookup(ctx, kRoot, name));
    return ask;
  }
};

TEST_F(RpcLeasesTest, OnlyWhoAsksGetsLeases) {
  mkdir(*client, "d");
  (void)world.run(client->lookup(world.ctx, kRoot, "d"));
  EXPECT_EQ(world.leases->numbers().leases, 0u);
  EXPECT_EQ(lookup("d").granted, LeaseAsk::kDirectory | LeaseAsk::kObject);
  EXPECT_EQ(lookup("absent").granted, LeaseAsk::kDirectory);
  EXPECT_EQ(world.leases->numbers().leases, 2u);
}

TEST_F(RpcLeasesTest, AServerWithoutLeasesGrantsNone) {
  world.volume->leases = nullptr;
  auto fresh = world.connect("third");
  LeaseAsk ask;
  OpContext ctx = world.ctx;
  ctx.leases = &ask;
  ASSERT_TRUE(world.run(fresh->getattr(ctx, kRoot)));
  EXPECT_EQ(ask.granted, 0u);
  EXPECT_FALSE(fresh->leases_hold());
  world.stop(*fresh);
  world.volume->leases = world.leases.get();
}

TEST_F(RpcLeasesTest, AChangeOfAnotherClientIsToldBeforeItHappens) {
  lookup("absent");
  const auto before = world.loop.clock().boot_time();
  mkdir(*other, "absent");
  EXPECT_EQ(recalls, std::vector{kRoot});
  EXPECT_EQ(world.loop.clock().boot_time(), before) << "the answer came at once";
  EXPECT_EQ(world.leases->numbers().unanswered, 0u);
  mkdir(*client, "own");
  EXPECT_EQ(recalls.size(), 1u);
}

TEST_F(RpcLeasesTest, LeasesHoldForATermAfterTheLastAnswer) {
  lookup("absent");
  EXPECT_TRUE(client->leases_hold());
  world.loop.run_for(999ms);
  EXPECT_TRUE(client->leases_hold());
  (void)world.run(client->statfs(world.ctx));
  world.loop.run_for(999ms);
  EXPECT_TRUE(client->leases_hold());
  world.loop.run_for(1ms);
  EXPECT_FALSE(client->leases_hold());
  (void)world.run(client->statfs(world.ctx));
  EXPECT_TRUE(client->leases_hold()) << "nothing was recalled meanwhile";
  EXPECT_TRUE(recalls.empty());
}

TEST_F(RpcLeasesTest, WhatChangedInAPauseWasToldBeforeTheNextAnswer) {
  lookup("absent");
  world.loop.run_for(10s);
  mkdir(*other, "absent");
  EXPECT_EQ(recalls, std::vector{kRoot});
}

TEST_F(RpcLeasesTest, ALostConnectionEndsAllLeases) {
  lookup("absent");
  world.net.break_all();
  world.loop.settle();
  ASSERT_FALSE(recalls.empty());
  EXPECT_TRUE(recalls.front().is_nil());
  EXPECT_FALSE(client->leases_hold());
  world.loop.run_for(5s);
  EXPECT_TRUE(client->status().connected);
  EXPECT_EQ(world.leases->numbers().leases, 0u);
}

TEST_F(RpcLeasesTest, WhoseConnectionIsSilentIsWaitedForAboutATerm) {
  lookup("absent");
  world.net.freeze(true);
  OpContext inside;
  const NewObject directory{.mode = 0755};  // read when the change begins, which is after the call
  auto made = world.begin(world.leases->mkdir(inside, kRoot, "absent", directory));
  world.loop.run_for(1099ms);
  EXPECT_FALSE(made->has_value());
  EXPECT_FALSE(client->leases_hold());
  world.loop.run_for(1ms);
  EXPECT_TRUE(made->has_value());
  EXPECT_TRUE(recalls.empty());
  world.net.freeze(false);
  (void)world.run(client->statfs(world.ctx));
  EXPECT_EQ(recalls, std::vector{kRoot}) << "before the answer";
}

TEST_F(RpcLeasesTest, AChangeRightAfterTheAnswerThatGrantsRecallsAfterIt) {
  // The grant's reply and the recall are both on their way when the client reads.
  LeaseAsk ask;
  OpContext ctx = world.ctx;
  ctx.leases = &ask;
  auto looked = world.begin(client->lookup(ctx, kRoot, "absent"));
  mkdir(*other, "absent");
  ASSERT_TRUE(looked->has_value());
  const bool granted = (ask.granted & LeaseAsk::kDirectory) != 0;
  EXPECT_TRUE(!granted || recalls == std::vector{kRoot});
}

TEST_F(RpcLeasesTest, AGoodbyeEndsLeasesAtOnce) {
  auto third = world.connect("third");
  LeaseAsk ask;
  OpContext ctx = world.ctx;
  ctx.leases = &ask;
  ASSERT_TRUE(world.run(third->getattr(ctx, kRoot)));
  EXPECT_NE(ask.granted, 0u);
  EXPECT_EQ(world.leases->numbers().leases, 1u);
  world.stop(*third);
  EXPECT_FALSE(third->leases_hold());
  EXPECT_EQ(world.leases->numbers().leases, 0u);
}

TEST_F(RpcLeasesTest, ARestartedServerWaitsForThoseWhoMayHaveLeases) {
  lookup("absent");
  world.net.refuse_connections(true);
  world.stop_server();
  world.start_server();
  const auto before = world.loop.clock().boot_time();
  OpContext inside;
  const NewObject directory{.mode = 0755};
  EXPECT_TRUE(world.run(world.leases->mkdir(inside, kRoot, "absent", directory)));
  EXPECT_EQ(world.loop.clock().boot_time() - before, 1100ms);
  world.net.refuse_connections(false);
  world.loop.run_for(5s);
}

}  // namespace
}  // namespace polder
