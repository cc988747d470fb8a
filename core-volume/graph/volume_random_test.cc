// SPDX-License-Identifier: GPL-3.0-or-later
// Many clients at once on a volume of several sets: whatever they do to one another, and whenever the process
// or the power goes, the volume is whole afterwards.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "base/concurrency.h"
#include "base/coro.h"
#include "core-volume/graph/volume_actors.h"
#include "tests/support/seeds.h"

namespace polder {
namespace {

const Gfid root = Gfid::root();

/// `at_the_end` is called when all have ended, or (the disk is gone) wait for what does not come.
void run_actors(SimVolume& node, Shared& shared, std::uint64_t seed, int actors, int operations,
                const std::function<void()>& at_the_end = {}) {
  TaskGroup group("actors");
  std::vector<std::unique_ptr<Actor>> all;
  shared.stop = false;
  for (int i = 0; i < actors; ++i) {
    all.push_back(std::make_unique<Actor>(node, shared, 10 + static_cast<std::uint32_t>(i),
                                          seed * 100 + static_cast<std::uint64_t>(i) + 1));
    group.spawn(node.loop.executor(), all.back()->act(operations));
  }
  for (int i = 0; i < 100 && group.size() > 0; ++i) node.loop.run_for(std::chrono::milliseconds(100));
  if (!at_the_end) {
    EXPECT_EQ(group.size(), 0u) << "some wait for one another";
  } else {
    shared.stop = true;
    at_the_end();
  }
  node.loop.run_until_done(group.wait_idle(), std::chrono::seconds(10));
}

class VolumeRandomTest : public testing::TestWithParam<Spread> {};

TEST_P(VolumeRandomTest, ManyClientsLeaveItWhole) {
  for (auto seed : seeds(4, 120)) {
    SCOPED_TRACE(seed);
    SimVolume node(3, GetParam(), seed);
    Shared shared;
    run_actors(node, shared, seed, 8, 150);
    EXPECT_GT(shared.done, 200u);
    EXPECT_THAT(shared.unexpected, testing::IsEmpty());
    ASSERT_THAT(node.problems(), testing::IsEmpty());
  }
}

/// The disk goes at any system call, and `end` ends the process, again and again.
void expect_whole_after(Spread spread, const std::function<void(SimVolume&, std::mt19937_64&)>& end) {
  for (auto seed : seeds(2, 60)) {
    SimVolume node(3, spread, seed);
    Shared shared;
    std::mt19937_64 random(seed);
    for (int round = 0; round < 8; ++round) {
      SCOPED_TRACE(fmt::format("seed {}, round {}", seed, round));
      node.disk.fail_nth(1 + random() % 3000, EIO, true);
      run_actors(node, shared, seed * 1000 + static_cast<std::uint64_t>(round), 6, 60,
                 [&] { end(node, random); });
      node.start();
      EXPECT_THAT(shared.unexpected, testing::IsEmpty());
      ASSERT_THAT(node.problems(), testing::IsEmpty());
    }
    EXPECT_GT(shared.done, 100u);
  }
}

TEST_P(VolumeRandomTest, KilledAtAnyMomentItIsWhole) {
  expect_whole_after(GetParam(), [](SimVolume& node, std::mt19937_64&) { node.kill(); });
}

/// Each log, and each file system, has kept what it likes of its last moments.
TEST_P(VolumeRandomTest, WithoutPowerAtAnyMomentItIsWhole) {
  expect_whole_after(GetParam(), [](SimVolume& node, std::mt19937_64& random) { node.lose_power(random()); });
}

/// After the power loss one brick is away for a while, and the others are used. Then it is compared with
/// them, also if the process was killed before that.
TEST_P(VolumeRandomTest, ABrickThatIsAwayAfterAPowerLossIsComparedWhenItIsBack) {
  for (auto seed : seeds(4, 120)) {
    SimVolume node(3, GetParam(), seed);
    Shared shared;
    std::mt19937_64 random(seed);
    for (int round = 0; round < 6; ++round) {
      SCOPED_TRACE(fmt::format("seed {}, round {}", seed, round));
      const auto work = seed * 1000 + static_cast<std::uint64_t>(round) * 10;
      node.disk.fail_nth(1 + random() % 3000, EIO, true);
      run_actors(node, shared, work, 6, 60, [&] { node.lose_power(random()); });
      const auto away = 1 + static_cast<std::uint32_t>(random() % 2);
      must(node.disk.rename(Disk::kNoDir, node.path_of(away), Disk::kNoDir, "/gone"));
      node.start();
      ASSERT_TRUE(node.stack->failures().contains(away));
      shared.bricks_may_go = true;
      if (round % 2 == 1) {  // some wait for what only that brick knows
        run_actors(node, shared, work + 1, 4, 10, [&] { node.kill(); });
        node.start();
      }
      must(node.disk.rename(Disk::kNoDir, "/gone", Disk::kNoDir, node.path_of(away)));
      node.run_one(node.stack->start_failed());
      shared.bricks_may_go = false;
      ASSERT_THAT(node.stack->failures(), testing::IsEmpty());
      EXPECT_THAT(shared.unexpected, testing::IsEmpty());
      ASSERT_THAT(node.problems(), testing::IsEmpty());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Spreads, VolumeRandomTest, testing::Values(Spread::kDirs, Spread::kFiles),
                         [](const auto& test) { return std::string(to_string(test.param)); });

// --- what readers may see

/// Moves a file from one directory to the next, round and round.
Task<void> move_around(FileOps& ops, OpContext ctx, std::array<Gfid, 3> directories, int times) {
  for (int i = 0; i < times; ++i) {
    ++ctx.sequence;
    must(co_await ops.rename(ctx, directories[i % 3], "f", directories[(i + 1) % 3], "f", 0));
  }
}

/// Looks in the direction of the movement: who does not find it in one directory finds it in the next or, if
/// it was on its way there already, in the one after that; it never is in two at once.
Task<void> watch(FileOps& ops, std::array<Gfid, 3> directories, int times, int& gone, int& twice) {
  OpContext ctx{.session = 5};
  for (int i = 0; i < times; ++i) {
    const int at = i % 3;
    std::array<bool, 3> listed{};
    auto page = must(co_await ops.readdir(ctx, directories[at], 0, 10, false));
    listed[at] = !page.entries.empty();
    bool found = false;
    for (int step = 0; step < 3 && !found; ++step)
      found = (co_await ops.lookup(ctx, directories[(at + step) % 3], "f")).has_value();
    gone += !found;
    twice += page.entries.size() > 1;
  }
}

TEST(VolumeReadersTest, NobodySeesAFileInNoPlace) {
  SimVolume node(3, Spread::kDirs);
  Client c(node);
  std::array<Gfid, 3> directories{c.dir(root, "a"), c.dir(root, "b"), c.dir(root, "c")};
  auto file = c.file(directories[0], "f", "x");
  int gone = 0, twice = 0;
  std::vector<Task<void>> tasks;
  tasks.push_back(move_around(node.ops(), {.session = 3}, directories, 60));
  for (int i = 0; i < 4; ++i) tasks.push_back(watch(node.ops(), directories, 100, gone, twice));
  node.run(std::move(tasks));
  EXPECT_EQ(gone, 0);
  EXPECT_EQ(twice, 0);
  EXPECT_EQ(c.attr(file).nlink, 1u);
  EXPECT_THAT(node.problems(), testing::IsEmpty());
}

Task<void> one_rename(FileOps& ops, OpContext ctx, Gfid from, std::string old_name, Gfid to, std::string name,
                      int& code) {
  code = code_of(co_await ops.rename(ctx, from, old_name, to, name, 0));
}

TEST(VolumeReadersTest, OppositeRenamesMakeNoCircle) {
  for (auto seed : seeds(8, 240)) {
    SimVolume node(3, Spread::kDirs, seed);
    Client c(node);
    auto a = c.dir(root, "a"), b = c.dir(root, "b");
    auto a2 = c.dir(a, "a2"), b2 = c.dir(b, "b2");
    int first = 0, second = 0;
    std::vector<Task<void>> tasks;
    tasks.push_back(one_rename(node.ops(), {.session = 3, .sequence = 1}, root, "a", b2, "x", first));
    tasks.push_back(one_rename(node.ops(), {.session = 4, .sequence = 1}, root, "b", a2, "y", second));
    node.run(std::move(tasks));
    EXPECT_TRUE((first == 0) != (second == 0)) << first << " " << second;
    EXPECT_THAT(node.problems(), testing::IsEmpty());
  }
}

}  // namespace
}  // namespace polder
