// SPDX-License-Identifier: GPL-3.0-or-later
// The life of a volume on one node, with a real brick on the kernel's disk: create, start, restart, stop,
// delete.
#include "core-volume/node/volumes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core-volume/node/volumes_test_support.h"

namespace polder {
namespace {

using testing::HasSubstr;

TEST_F(VolumesTest, AVolumeLivesThroughRestarts) {
  auto created = create("data", "alpha:" + folder + "/brick");
  ASSERT_TRUE(created) << created.error().message();
  EXPECT_EQ(node->volumes->running("data"), nullptr);
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  ASSERT_NE(node->volumes->running("data"), nullptr);
  EXPECT_TRUE(node->run(node->volumes->start("data", false)).failed_with(EALREADY));

  auto write = [](FileOps& ops) -> Task<Result<FileAttr>> {
    co_return co_await ops.mkdir(OpContext{}, Gfid::root(), "kept", NewObject{.mode = S_IFDIR | 0755});
  };
  ASSERT_TRUE(node->run(write(node->volumes->running("data")->stack->top())));
  restart();
  ASSERT_NE(node->volumes->running("data"), nullptr) << node->volumes->failure("data");
  EXPECT_TRUE(
      node->run(node->volumes->running("data")->stack->top().lookup(OpContext{}, Gfid::root(), "kept")));

  EXPECT_TRUE(node->run(node->volumes->remove("data")).failed_with(EBUSY));
  ASSERT_TRUE(node->run(node->volumes->stop("data")));
  EXPECT_TRUE(node->run(node->volumes->stop("data")).failed_with(EALREADY));
  restart();
  EXPECT_EQ(node->volumes->running("data"), nullptr);
  ASSERT_TRUE(node->run(node->volumes->remove("data")));
  EXPECT_TRUE(std::filesystem::exists(folder + "/brick/.polder"));
  EXPECT_TRUE(node->run(node->volumes->start("data", false)).failed_with(ENOENT));
}

TEST_F(VolumesTest, WrongBricksAreRefusedAndLeaveNothing) {
  for (const auto& brick : {std::string("beta:/x/y"), std::string("alpha"), std::string("alpha:x"),
                            std::string("alpha:/x/../y"), std::string(":/x")}) {
    EXPECT_TRUE(create("data", brick).failed_with(EINVAL)) << brick;
  }
  EXPECT_TRUE(node->run(node->volumes->create({.name = "data", .bricks = {}})).failed_with(EINVAL));
  EXPECT_TRUE(create("../x", "alpha:" + folder + "/brick").failed_with(EINVAL));
  ASSERT_TRUE(create("data", "127.0.0.1:" + folder + "/brick"));
  EXPECT_TRUE(create("data", "alpha:" + folder + "/other").failed_with(EEXIST));
  EXPECT_TRUE(create("more", "alpha:" + folder + "/brick/inside").failed_with(EEXIST));
  EXPECT_TRUE(create("more", "alpha:" + folder).failed_with(EEXIST));
  EXPECT_FALSE(std::filesystem::exists(folder + "/other"));
  EXPECT_EQ(node->run(list_volumes(*node->store)).value().size(), 1U);
}

TEST_F(VolumesTest, AVolumeThatCannotRunDoesNotStopTheOthers) {
  ASSERT_TRUE(create("one", "alpha:" + folder + "/one"));
  ASSERT_TRUE(create("two", "alpha:" + folder + "/two"));
  ASSERT_TRUE(node->run(node->volumes->start("one", false)));
  ASSERT_TRUE(node->run(node->volumes->start("two", false)));
  node.reset();
  std::filesystem::rename(folder + "/one", folder + "/gone");
  node = std::make_unique<Node>(folder);
  EXPECT_EQ(node->volumes->running("one"), nullptr);
  EXPECT_THAT(node->volumes->failure("one"), HasSubstr("/one"));
  EXPECT_NE(node->volumes->running("two"), nullptr);
  EXPECT_FALSE(node->run(node->volumes->start("one", true)));
  std::filesystem::rename(folder + "/gone", folder + "/one");
  EXPECT_TRUE(node->run(node->volumes->start("one", true)));
  EXPECT_TRUE(node->volumes->failures().empty());
}

TEST_F(VolumesTest, OptionsAreCheckedAndReachTheBrick) {
  ASSERT_TRUE(create("data", "alpha:" + folder + "/brick"));
  EXPECT_TRUE(node->run(node->volumes->set_option("data", "changelog.segment", "1")).failed_with(EINVAL));
  EXPECT_EQ(node->run(node->volumes->set_option("data", "changelog.segment-size", "2048KiB")).value(),
            "2MiB");
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  EXPECT_EQ(node->volumes->running("data")->stack->root_brick().config().journal.segment_bytes, 2u << 20);
  EXPECT_EQ(node->run(node->volumes->set_option("data", "changelog.segment-size", std::nullopt)).value(),
            "64MiB");
}

TEST_F(VolumesTest, StoppingWaitsForWhoUsesTheBrick) {
  ASSERT_TRUE(create("data", "alpha:" + folder + "/brick"));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  bool let_go = false;
  auto user = [](Node& node, bool& let_go) -> Task<void> {
    auto use = node.volumes->use("data").value();
    while (!use.stopping()) {
      if (!co_await node.clock->sleep_for(std::chrono::milliseconds(1))) co_return;
    }
    EXPECT_TRUE(co_await use.stack().top().statfs(OpContext{}));
    let_go = true;
  };
  TaskGroup tasks("test");
  tasks.spawn(node->loop.executor(), user(*node, let_go));
  node->loop.run_until_done(node->clock->sleep_for(std::chrono::milliseconds(5))).value();
  ASSERT_TRUE(node->run(node->volumes->stop("data")));
  EXPECT_TRUE(let_go);
  EXPECT_TRUE(node->volumes->use("data").failed_with(ENOTCONN));
  node->loop.run_until_done(tasks.wait_idle());
}

TEST_F(VolumesTest, SessionNumbersAreGivenOutOnce) {
  ClusterSessionStore sessions(*node->store);
  StoredSession session{
      .number = 0, .token = std::string("t\0k\xff", 4), .owner = "uid 0", .client_name = "c\x01\xff"};
  EXPECT_EQ(node->run(sessions.add("data", session)).value(), 1U);
  EXPECT_EQ(node->run(sessions.add("data", session)).value(), 2U);
  EXPECT_EQ(node->run(sessions.add("more", session)).value(), 1U);
  ASSERT_TRUE(node->run(sessions.forget("data", 2)));
  EXPECT_EQ(node->run(sessions.add("data", session)).value(), 3U);
  auto listed = node->run(sessions.list("data")).value();
  ASSERT_EQ(listed.size(), 2U);
  EXPECT_EQ(listed[0].token, session.token);
  EXPECT_EQ(listed[1].number, 3U);
}

}  // namespace
}  // namespace polder
