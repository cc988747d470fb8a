// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/coordinator/record.h"

#include <gtest/gtest.h>

namespace polder {
namespace {

SnapshotIntent sample() {
  SnapshotIntent intent;
  intent.operation = SnapshotIntent::Operation::kRestore;
  intent.committing = true;
  intent.snapshot = {.name = "s",
                     .id = "00ff",
                     .volume = "data",
                     .volume_id = Gfid{{7}},
                     .brick_path = "/b",
                     .mark_index = 42,
                     .log_from = 41,
                     .hlc_ns = 1'795'244'000'000'000'123,
                     .barrier_ns = 5,
                     .created_ns = 6,
                     .description = "before \"it\"",
                     .backend = "btrfs",
                     .active = true,
                     .pre_restore = false};
  intent.kept = intent.snapshot;
  intent.kept.name = "k";
  intent.place = "vg/lv";
  return intent;
}

TEST(SnapshotRecordTest, JsonKeepsEverything) {
  auto intent = sample();
  auto again = intent_from_json(json::parse(json::text(to_json(intent))).value());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(to_json(*again), to_json(intent));
  auto limits = limits_from_json(to_json(SnapshotLimits{.hard_limit = 3, .activate_on_create = true}));
  ASSERT_TRUE(limits);
  EXPECT_EQ(limits->hard_limit, 3u);
}

TEST(SnapshotRecordTest, WrongRecordsAreRefused) {
  for (const char* field : {"operation", "snapshot", "kept", "committing", "place", "format"}) {
    auto broken = to_json(sample()).get_object();
    broken.erase(field);
    EXPECT_FALSE(intent_from_json(broken)) << field;
  }
  auto unknown = to_json(sample()).get_object();
  unknown["operation"] = "explode";
  EXPECT_FALSE(intent_from_json(unknown));
  auto newer = to_json(sample()).get_object();
  newer["format"] = 2;
  EXPECT_TRUE(intent_from_json(newer).failed_with(EPROTO));
}

TEST(SnapshotRecordTest, NamesGetGlustersTimeStamp) {
  const std::uint64_t now_ns = 1'795'243'800'000'000'000;  // 2026-11-21 06:50:00 UTC
  EXPECT_EQ(final_snapshot_name("nightly", true, now_ns).value(), "nightly_GMT-2026.11.21-06.50.00");
  EXPECT_EQ(final_snapshot_name("nightly", false, now_ns).value(), "nightly");
  EXPECT_TRUE(final_snapshot_name("a/b", false, now_ns).failed_with(EINVAL));
  EXPECT_TRUE(final_snapshot_name(std::string(50, 'a'), true, now_ns).failed_with(EINVAL));
  EXPECT_TRUE(final_snapshot_name(std::string(50, 'a'), false, now_ns));
  EXPECT_TRUE(final_snapshot_name("all", false, now_ns).failed_with(EINVAL));
  EXPECT_TRUE(final_snapshot_name("volume", false, now_ns).failed_with(EINVAL));
  EXPECT_TRUE(final_snapshot_name("all", true, now_ns));
}

}  // namespace
}  // namespace polder
