// SPDX-License-Identifier: GPL-3.0-or-later
// The first start after a restore: one `restored` record, whatever kills that start; and the log goes on.
#include "core-volume/graph/restore_marker.h"

#include <gtest/gtest.h>

#include "base/crash_point.h"
#include "core-volume/graph/brick_test_support.h"

namespace polder {
namespace {

/// A brick that is closed.
struct RestoreMarkerTest : testing::Test {
  RestoreMarkerTest() {
    client.file(Gfid::root(), "a");
    last = world.brick->journal().appended_index();
    world.stop();
  }
  std::vector<Record> restored_records() {
    std::vector<Record> found;
    auto reader = must(world.brick->journal().read_from(1, true));
    while (auto record = must(reader->next())) {
      if (record->kind == RecordKind::kRestored) found.push_back(*record);
    }
    return found;
  }

  SimBrick world;
  Client client{world};
  std::uint64_t last = 0;
};

TEST_F(RestoreMarkerTest, TheLogSaysItOnceAndGoesOn) {
  must(write_restore_marker(world.disk, "/b", {.mark = "0a1b", .mark_index = 1, .carried_upto = last}));
  world.start();
  auto records = restored_records();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].index, last + 1);
  EXPECT_EQ(records[0].text, "0a1b");
  EXPECT_EQ(records[0].offset, 1u);
  EXPECT_GE(world.brick->journal().stable_index(), last + 1);
  EXPECT_FALSE(must(read_restore_marker(world.disk, "/b")));
  client.file(Gfid::root(), "b");
  world.stop();
  world.start();
  EXPECT_EQ(restored_records().size(), 1u);
  EXPECT_GT(world.brick->journal().appended_index(), last + 1);
}

TEST_F(RestoreMarkerTest, AKilledStartDoesNotSayItTwice) {
  must(write_restore_marker(world.disk, "/b", {.mark = "0a1b", .mark_index = 1, .carried_upto = last}));
  static SimDisk* disk;
  disk = &world.disk;
  arm_crash_point("snapshot/after-restored", 1, [] { disk->freeze(); });
  EXPECT_FALSE(world.loop.run_until_done(Brick::start(world.seams, world.config)));
  arm_crash_point("", 0, nullptr);
  world.disk.kill();
  ASSERT_TRUE(must(read_restore_marker(world.disk, "/b")));
  world.start();
  EXPECT_EQ(restored_records().size(), 1u);
  EXPECT_FALSE(must(read_restore_marker(world.disk, "/b")));
}

TEST_F(RestoreMarkerTest, AnotherLogIsRefused) {
  for (const RestoreMarker& wrong :
       {RestoreMarker{"0a1b", 1, last + 1}, RestoreMarker{"0a1b", 0, last - 1}}) {
    must(write_restore_marker(world.disk, "/b", wrong));
    auto started = world.loop.run_until_done(Brick::start(world.seams, world.config));
    EXPECT_TRUE(started.failed_with(EUCLEAN)) << wrong.carried_upto;
  }
  must(write_restore_marker(world.disk, "/b", {"0a1b", 1, last}));
  world.start();
}

}  // namespace
}  // namespace polder
