// SPDX-License-Identifier: GPL-3.0-or-later
// What every ClusterStore promises, run against SQLite.
#include "core-volume/cluster/cluster_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concurrency.h"
#include "base/sqlite.h"
#include "core-volume/cluster/cluster_test_support.h"
#include "tests/support/sim_disk.h"

namespace polder {
namespace {

struct ClusterStoreTest : testing::Test {
  ClusterWorld world;
  std::unique_ptr<ClusterStore> store = world.open_store();

  Result<std::uint64_t> commit(ClusterTransaction transaction) {
    return world.run(store->commit(std::move(transaction)));
  }
  std::uint64_t put(const std::string& key, const std::string& value) {
    return commit(ClusterTransaction().put(key, value)).value();
  }
  std::vector<std::string> keys(const std::string& prefix) {
    std::vector<std::string> out;
    auto entries = world.run(store->list(prefix)).value();
    for (const auto& entry : entries) out.push_back(entry.key);
    return out;
  }
};

TEST_F(ClusterStoreTest, ReadsWhatWasCommitted) {
  EXPECT_EQ(world.run(store->revision()).value(), 0U);
  EXPECT_FALSE(world.run(store->get("volume/a")).value());
  std::string bytes("a\0\xff", 3);
  auto version = put("volume/a", bytes);
  auto entry = world.run(store->get("volume/a")).value();
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->value, bytes);
  EXPECT_EQ(entry->version, version);
  EXPECT_EQ(world.run(store->revision()).value(), version);
}

TEST_F(ClusterStoreTest, ListsByPrefixInKeyOrder) {
  for (auto key : {"volume/b", "volume/a", "volumes", "node/x", "volume0", "volume/\xff"}) put(key, "v");
  EXPECT_THAT(keys("volume/"), testing::ElementsAre("volume/a", "volume/b", "volume/\xff"));
  EXPECT_THAT(keys(""), testing::SizeIs(6));
  EXPECT_THAT(keys("nothing"), testing::IsEmpty());
}

TEST_F(ClusterStoreTest, AConditionThatDoesNotHoldChangesNothing) {
  auto first = put("a", "1");
  auto second = put("a", "2");
  auto refused = commit(ClusterTransaction().expect("a", first).put("a", "3").put("b", "3"));
  ASSERT_TRUE(refused.failed_with(EAGAIN));
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("a was changed"));
  EXPECT_FALSE(world.run(store->get("b")).value());
  EXPECT_EQ(world.run(store->get("a")).value()->value, "2");
  EXPECT_TRUE(commit(ClusterTransaction().expect("a", second).expect("b", 0).put("a", "3").put("b", "3")));
  EXPECT_TRUE(commit(ClusterTransaction().expect("b", 0).put("b", "4")).failed_with(EAGAIN));
}

TEST_F(ClusterStoreTest, AVersionNeverComesBack) {
  auto first = put("a", "1");
  ASSERT_TRUE(commit(ClusterTransaction().remove("a")));
  EXPECT_GT(put("a", "1"), first);
  EXPECT_TRUE(commit(ClusterTransaction().expect("a", first).put("a", "2")).failed_with(EAGAIN));
}

TEST_F(ClusterStoreTest, OfManyWhoCompareAndSwapOneWins) {
  auto version = put("leader", "nobody");
  int won = 0;
  std::vector<Task<Result<void>>> tasks;
  auto attempt = [](ClusterStore& store, std::uint64_t version, int& won, int who) -> Task<Result<void>> {
    ClusterTransaction transaction;
    transaction.expect("leader", version).put("leader", std::to_string(who));
    auto done = co_await store.commit(std::move(transaction));
    if (done) ++won;
    co_return Result<void>();
  };
  for (int who = 0; who < 10; ++who) tasks.push_back(attempt(*store, version, won, who));
  world.run(fan_out(std::move(tasks)));
  EXPECT_EQ(won, 1);
}

TEST_F(ClusterStoreTest, RefusesWhatIsTooLarge) {
  EXPECT_TRUE(commit(ClusterTransaction().put("", "v")).failed_with(EINVAL));
  EXPECT_TRUE(commit(ClusterTransaction().put(std::string(513, 'k'), "v")).failed_with(EINVAL));
  EXPECT_TRUE(commit(ClusterTransaction().put("k", std::string((1u << 20) + 1, 'v'))).failed_with(E2BIG));
  EXPECT_TRUE(commit(ClusterTransaction().put("k", std::string(1u << 20, 'v'))));
}

TEST_F(ClusterStoreTest, AWatchWakesForItsPrefixOnly) {
  auto start = put("volume/a", "1");
  std::uint64_t seen = 0;
  TaskGroup group("watch");
  auto watcher = [](ClusterStore& store, std::uint64_t after, std::uint64_t& seen) -> Task<void> {
    auto revision = co_await store.watch("volume/", after);
    seen = revision ? *revision : 0;
  };
  group.spawn(world.loop.executor(), watcher(*store, start, seen));
  put("node/x", "1");
  world.loop.settle();
  EXPECT_EQ(seen, 0U);
  auto removed = commit(ClusterTransaction().remove("volume/a")).value();
  world.loop.settle();
  EXPECT_EQ(seen, removed);
  // What happened before the call is not missed.
  EXPECT_EQ(world.run(store->watch("volume/", start)).value(), removed);
  world.run(group.stop());
}

TEST_F(ClusterStoreTest, AStoppedWatchEnds) {
  int code = 0;
  TaskGroup group("watch");
  auto watcher = [](ClusterStore& store, int& code) -> Task<void> {
    auto revision = co_await store.watch("a", 0);
    code = revision ? 0 : revision.error().code();
  };
  group.spawn(world.loop.executor(), watcher(*store, code));
  world.loop.settle();
  world.run(group.stop());
  EXPECT_EQ(code, ECANCELED);
}

TEST_F(ClusterStoreTest, EverythingIsThereAfterAReopen) {
  auto version = put("a", "1");
  store.reset();
  store = world.open_store();
  EXPECT_EQ(world.run(store->get("a")).value()->version, version);
  EXPECT_EQ(put("b", "1"), version + 1);
  // A watcher from before the restart is told to look.
  EXPECT_TRUE(world.run(store->watch("a", 0)));
}

TEST_F(ClusterStoreTest, ASecondProcessIsRefused) {
  auto second = open_sqlite_cluster_store(world.seams, world.folder + "/cluster.db");
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), testing::HasSubstr("another process has it open"));
}

TEST_F(ClusterStoreTest, ANewerSchemaIsRefused) {
  store.reset();
  {
    auto database = Database::open(*world.disk, world.folder + "/cluster.db");
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->execute("UPDATE facts SET value = 99 WHERE name = 'schema'"));
  }
  auto refused = open_sqlite_cluster_store(world.seams, world.folder + "/cluster.db");
  ASSERT_TRUE(refused.failed_with(EPROTO));
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("newer version"));
}

/// What was acknowledged is there after a power loss, and nothing else but the one commit in flight.
TEST(ClusterStoreCrash, AcknowledgedCommitsSurviveAPowerLoss) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SimLoop loop;
    auto random = make_seeded_random(seed);
    auto workers = make_inline_workers();
    NoTransport transport;
    HlcClock hlc(loop.clock());
    SimDisk disk;
    Seams seams{loop.clock(), *random, disk, transport, *workers, hlc};
    std::uint64_t acknowledged = 0;
    {
      auto store = open_sqlite_cluster_store(seams, "/cluster.db");
      ASSERT_TRUE(store) << store.error().message();
      ASSERT_TRUE(loop.run_until_done((*store)->commit(ClusterTransaction().put("n", "0").put("m", "0"))));
      disk.fail_nth(1 + random->below(200), EIO, true);
      for (std::uint64_t i = 1; i <= 30; ++i) {
        ClusterTransaction transaction;
        transaction.put("n", std::to_string(i)).put("m", std::to_string(i));
        if (!loop.run_until_done((*store)->commit(std::move(transaction)))) break;
        acknowledged = i;
      }
      disk.freeze();
    }
    disk.crash(seed);
    auto store = open_sqlite_cluster_store(seams, "/cluster.db");
    ASSERT_TRUE(store) << "seed " << seed << ": " << store.error().message();
    auto n = std::stoull(loop.run_until_done((*store)->get("n")).value()->value);
    auto m = std::stoull(loop.run_until_done((*store)->get("m")).value()->value);
    EXPECT_EQ(n, m) << "seed " << seed;
    EXPECT_GE(n, acknowledged) << "seed " << seed;
    EXPECT_LE(n, acknowledged + 1) << "seed " << seed;
  }
}

}  // namespace
}  // namespace polder
