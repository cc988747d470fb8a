// SPDX-License-Identifier: GPL-3.0-or-later
// What a start makes of transactions when the power went and each log has lost other moments.
#include <gmock/gmock.h>

#include "base/crash_point.h"
#include "core-volume/graph/volume_stack_test_support.h"

namespace polder {
namespace {

const Gfid root = Gfid::root();

Gfid directory_on(SimVolume& node, Client& client, std::uint32_t set) {
  for (int i = 0; i < 100; ++i) {
    auto made = must(client.mkdir(root, fmt::format("{}.{}", set, i))).gfid;
    if (node.stack->placement().set_of(made) == set) return made;
  }
  throw std::runtime_error("no directory fell on the set");
}

/// Two renames, one after the other: on1/k to on2/y, led by set 2; then on0/z to on1/k, led by set 1. The log
/// of set 1 ends with its preparation of the first; the others have all of their own.
class TwoRenames {
 public:
  explicit TwoRenames(std::uint64_t seed) : node(3, Spread::kDirs, seed), client(node) {
    for (std::uint32_t set = 0; set < 3; ++set) on[set] = directory_on(node, client, set);
    k = client.file(on[1], "k", "k");
    z = client.file(on[0], "z", "z");
    must(client.sync());
    running = &node;
    arm_crash_point("tx/after-decide", 1, [] {
      for (std::uint32_t set : {1, 2}) must(running->stack->brick(set)->journal().sync());
    });
    must(client.rename(on[1], "k", on[2], "y"));
    arm_crash_point("", 1, nullptr);
    must(client.rename(on[0], "z", on[1], "k"));
    must(node.stack->brick(0)->journal().sync());
    node.lose_power(seed);
  }

  /// Both are in a log that was synced: both have happened.
  void expect_done() {
    EXPECT_THAT(client.names(on[0]), testing::IsEmpty());
    EXPECT_THAT(client.names(on[1]), testing::ElementsAre("k"));
    EXPECT_THAT(client.names(on[2]), testing::ElementsAre("y"));
    EXPECT_EQ(must(client.lookup(on[1], "k")).gfid, z);
    EXPECT_EQ(must(client.lookup(on[2], "y")).gfid, k);
    EXPECT_THAT(node.problems(), testing::IsEmpty());
  }

  SimVolume node;
  Client client;
  std::array<Gfid, 3> on{};
  Gfid k, z;

 private:
  static inline SimVolume* running = nullptr;
};

TEST(VolumeResolve, WhatIsAdoptedWaitsForNothingThatIsDeliveredLater) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    TwoRenames renames(seed);
    renames.node.start();
    renames.expect_done();
    if (testing::Test::HasFailure()) return;
  }
}

TEST(VolumeResolve, NorForASetThatIsAway) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    TwoRenames renames(seed);
    auto& node = renames.node;
    must(node.disk.rename(Disk::kNoDir, node.path_of(2), Disk::kNoDir, "/gone"));
    node.start();
    ASSERT_TRUE(node.stack->failures().contains(2));
    node.loop.run_for(std::chrono::seconds(1));
    must(node.disk.rename(Disk::kNoDir, "/gone", Disk::kNoDir, node.path_of(2)));
    node.run_one(node.stack->start_failed());
    ASSERT_THAT(node.stack->failures(), testing::IsEmpty());
    renames.expect_done();
    if (testing::Test::HasFailure()) return;
  }
}

/// on1/k to on0/m, led by set 0; later on0/m to on2/y, led by set 2. The power goes at some moment while the
/// first is being forgotten, by one set sooner than by the others: it must not be done again without the
/// second.
void expect_forgotten(std::uint64_t seed, std::uint32_t soon, std::chrono::milliseconds after) {
  SimVolume node(3, Spread::kDirs, seed);
  node.stop();
  node.config.bricks[soon].ordering.maintain_interval = std::chrono::milliseconds(10);
  node.start();
  Client c(node);
  std::array<Gfid, 3> on{};
  for (std::uint32_t set = 0; set < 3; ++set) on[set] = directory_on(node, c, set);
  auto file = c.file(on[1], "k", "k");
  must(c.sync());
  node.loop.run_for(std::chrono::seconds(1));
  must(c.rename(on[1], "k", on[0], "m"));
  node.loop.run_for(std::chrono::milliseconds(50));
  must(c.rename(on[0], "m", on[2], "y"));
  must(c.sync());
  node.loop.run_for(after);
  node.lose_power(seed);
  node.start();
  ASSERT_THAT(c.names(on[0]), testing::IsEmpty());
  ASSERT_THAT(c.names(on[1]), testing::IsEmpty());
  ASSERT_EQ(must(c.lookup(on[2], "y")).gfid, file);
  ASSERT_THAT(node.problems(), testing::IsEmpty());
}

TEST(VolumeResolve, WhatWasForgottenIsNotDoneAgain) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    for (std::uint32_t soon = 0; soon < 2; ++soon) {
      for (int after_ms = 40; after_ms <= 120; after_ms += 20) {
        SCOPED_TRACE(fmt::format("seed {}, set {} forgets soon, after {} ms", seed, soon, after_ms));
        expect_forgotten(seed, soon, std::chrono::milliseconds(after_ms));
        if (HasFailure()) return;
      }
    }
  }
}

/// The power goes when only some logs were synced. Then set 2 is away for a while.
class SetTwoIsAway {
 public:
  explicit SetTwoIsAway(std::uint64_t seed) : node(3, Spread::kDirs, seed), client(node), seed_(seed) {
    on2 = directory_on(node, client, 2);
  }
  /// The logs of `synced` have all of their own.
  void lose_power(std::set<std::uint32_t> synced = {2}) {
    for (auto set : synced) must(node.stack->brick(set)->journal().sync());
    node.lose_power(seed_);
    must(node.disk.rename(Disk::kNoDir, node.path_of(2), Disk::kNoDir, "/gone"));
    node.start();
  }
  /// Whether the file is there, and nobody has to wait for set 2 to know more.
  bool has(const Gfid& file) {
    auto attr = client.getattr(file);
    return attr && attr->nlink == 1 && node.stack->brick(0)->ordering().prepared_transactions() == 0;
  }
  void write_and_come_back(const Gfid& file) {
    client.put(file, 0, "since");
    must(client.fsync(file));
    come_back();
    ASSERT_THAT(node.problems(), testing::IsEmpty());
    ASSERT_EQ(client.content(file), "since");
  }
  void come_back() {
    must(node.disk.rename(Disk::kNoDir, "/gone", Disk::kNoDir, node.path_of(2)));
    node.run_one(node.stack->start_failed());
    ASSERT_THAT(node.stack->failures(), testing::IsEmpty());
  }

  SimVolume node;
  Client client;
  Gfid on2;

 private:
  const std::uint64_t seed_;
};

/// Set 0 has lost its decision to replace the file by one of set 2.
TEST(VolumeResolve, WhatWasWrittenSinceIsNotReplaced) {
  int tried = 0;
  for (std::uint64_t seed = 1; seed <= 30 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    SetTwoIsAway volume(seed);
    auto& c = volume.client;
    const auto file = c.file(root, "f", "file"), other = c.file(volume.on2, "g", "other");
    must(c.sync());
    must(c.rename(volume.on2, "g", root, "f"));
    volume.lose_power();
    if (!volume.has(file) || must(c.lookup(root, "f")).gfid != file) continue;
    ++tried;
    volume.write_and_come_back(file);
    EXPECT_EQ(must(c.lookup(root, "f")).gfid, file);
    EXPECT_EQ(c.content(other), "other");
  }
  EXPECT_GT(tried, 3);
}

/// Set 2 has decided to remove it, and set 0 has lost its part.
TEST(VolumeResolve, WhatWasWrittenSinceIsNotRemoved) {
  int tried = 0;
  for (std::uint64_t seed = 1; seed <= 30 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    SetTwoIsAway volume(seed);
    auto& c = volume.client;
    const auto file = c.file(root, "f", "file");
    must(c.rename(root, "f", volume.on2, "f"));
    must(c.sync());
    must(c.unlink(volume.on2, "f"));
    volume.lose_power();
    if (!volume.has(file)) continue;
    ++tried;
    volume.write_and_come_back(file);
    EXPECT_EQ(must(c.lookup(volume.on2, "f")).gfid, file);
  }
  EXPECT_GT(tried, 3);
}

/// A file on set 0 with a name on set 2 is replaced by a new one of set 1, of which set 1 loses all. Set 2 is
/// away for longer than what was removed is kept for who may have it open: it shows the new one alone.
TEST(VolumeResolve, WhatAnAwaySetMayStillNeedIsKept) {
  int tried = 0;
  for (std::uint64_t seed = 1; seed <= 100 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    SetTwoIsAway volume(seed);
    auto& c = volume.client;
    const auto on1 = directory_on(volume.node, c, 1);
    const auto old = c.file(root, "f", "old");
    must(c.rename(root, "f", volume.on2, "f"));
    must(c.sync());
    const auto fresh = c.file(on1, "g", "fresh");
    must(c.rename(on1, "g", volume.on2, "f"));
    volume.lose_power({});
    const auto orphans = must(volume.node.stack->brick(0)->store().orphans());
    if (std::ranges::count(orphans, old) > 0) ++tried;
    volume.node.loop.run_for(std::chrono::seconds(90));
    volume.come_back();
    auto now = c.lookup(volume.on2, "f");
    ASSERT_TRUE(now) << now.error().message();
    ASSERT_TRUE(now->gfid == old || now->gfid == fresh);
    ASSERT_THAT(volume.node.problems(), testing::IsEmpty());
  }
  EXPECT_GT(tried, 3);
}

}  // namespace
}  // namespace polder
