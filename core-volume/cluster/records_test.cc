// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core-volume/cluster/cluster_test_support.h"

namespace polder {
namespace {

struct RecordsTest : testing::Test {
  ClusterWorld world;
  std::unique_ptr<ClusterStore> store = world.open_store();

  VolumeInfo volume(const std::string& name) {
    VolumeInfo info;
    info.name = name;
    info.id = Gfid::random(*world.random, 0);
    info.lineage = Gfid::random(*world.random, 0);
    info.state = VolumeState::kStarted;
    info.read_only = true;
    info.role = "secondary";
    info.bricks = {{"alpha", "/bricks/" + name, 0, Gfid::random(*world.random, 0)}};
    info.slots = even_slots(1);
    info.options = {{"network.session-timeout", "90s"}};
    info.created_ns = 1'800'000'000'123'456'789;
    return info;
  }
};

TEST_F(RecordsTest, AVolumeRoundTrips) {
  auto before = volume("data");
  auto version = world.run(put_volume(*store, before, 0)).value();
  auto after = world.run(get_volume(*store, "data")).value();
  EXPECT_EQ(after.version, version);
  EXPECT_EQ(json::text(to_json(after.value)), json::text(to_json(before)));
  EXPECT_EQ(after.value.bricks[0].id, before.bricks[0].id);
  EXPECT_EQ(after.value.created_ns, before.created_ns);
}

TEST_F(RecordsTest, SetsAndWhatIsInTheMakingRoundTrip) {
  auto before = volume("data");
  for (std::uint32_t set : {1u, 2u})
    before.bricks.push_back({"alpha", "/bricks/" + std::to_string(set), set, Gfid::random(*world.random, 0)});
  before.making = {{{"alpha", "/bricks/3", 3, Gfid::random(*world.random, 0)}, true}};
  before.slots = even_slots(3);
  ASSERT_TRUE(world.run(put_volume(*store, before, 0)));
  auto after = world.run(get_volume(*store, "data")).value().value;
  EXPECT_EQ(after.slots, before.slots);
  EXPECT_EQ(after.bricks.at(2).set, 2U);
  ASSERT_EQ(after.making.size(), 1U);
  EXPECT_EQ(after.making[0].spec.id, before.making[0].spec.id);
  EXPECT_TRUE(after.making[0].had_directory);
}

TEST_F(RecordsTest, ANumberThatDoesNotFitIsNotCutOff) {
  auto record = to_json(volume("data")).get_object();
  record["bricks"].get_array()[0].get_object()["set"] = (1ull << 32) + 1;
  EXPECT_TRUE(volume_from_json(record).failed_with(EINVAL));
}

TEST_F(RecordsTest, ARecordWithoutATableIsOneSetWithAllSlots) {
  auto old = to_json(volume("data")).get_object();
  old["format"] = 1;
  old.erase("slots");
  old.erase("making");
  auto read = volume_from_json(old);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->slots, even_slots(1));
  EXPECT_TRUE(read->making.empty());
}

TEST_F(RecordsTest, ATableWithAGapIsDamage) {
  for (const auto* bad : {"[]", "[[0,65535]]", "[[0,65534,0]]", "[[1,65535,0]]", "[[0,9,0],[9,65535,1]]",
                          "[[0,65535,-1]]", "[[0,65536,0]]", "[7]"}) {
    auto record = to_json(volume("data")).get_object();
    record["slots"] = json::parse(bad).value();
    EXPECT_FALSE(volume_from_json(record)) << bad;
  }
}

TEST_F(RecordsTest, NewMeansNewAndChangesNeedTheVersion) {
  auto version = world.run(put_volume(*store, volume("data"), 0)).value();
  auto twice = world.run(put_volume(*store, volume("data"), 0));
  ASSERT_TRUE(twice.failed_with(EEXIST));
  EXPECT_THAT(twice.error().message(), testing::HasSubstr("there is a volume 'data' already"));
  ASSERT_TRUE(world.run(put_volume(*store, volume("data"), version)));
  EXPECT_TRUE(world.run(put_volume(*store, volume("data"), version)).failed_with(EAGAIN));
  EXPECT_TRUE(world.run(delete_record(*store, "volume", "data", version)).failed_with(EAGAIN));
  auto absent = world.run(get_volume(*store, "dta"));
  ASSERT_TRUE(absent.failed_with(ENOENT));
  EXPECT_THAT(absent.error().message(), testing::HasSubstr("there is no volume 'dta'"));
}

TEST_F(RecordsTest, DamageIsNamed) {
  for (const auto* bad : {"", "{", "[]", "{}", R"({"format":1})", R"({"format":99})"}) {
    ASSERT_TRUE(world.run(store->commit(ClusterTransaction().put("volume/data", bad))));
    auto read = world.run(get_volume(*store, "data"));
    ASSERT_TRUE(read.failed_with(EUCLEAN)) << bad;
    EXPECT_THAT(read.error().message(), testing::HasSubstr("volume/data"));
  }
}

TEST_F(RecordsTest, EveryMissingFieldIsNamed) {
  auto whole = to_json(volume("data")).get_object();
  for (const auto& field : whole) {
    auto part = whole;
    part.erase(field.key());
    auto read = volume_from_json(part);
    ASSERT_FALSE(read) << field.key();
    EXPECT_THAT(read.error().message(), testing::HasSubstr(std::string(field.key())));
  }
}

TEST_F(RecordsTest, KindsAreApart) {
  ASSERT_TRUE(world.run(put_record(*store, "georep", "b", json::object{{"x", 1}}, 0)));
  ASSERT_TRUE(world.run(put_record(*store, "georep", "a", json::object{{"x", 2}}, 0)));
  ASSERT_TRUE(world.run(put_record(*store, "georep-old", "c", json::object{}, 0)));
  auto records = world.run(list_records(*store, "georep")).value();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].first, "a");
  EXPECT_TRUE(world.run(get_cluster(*store)).failed_with(ENOENT));
}

TEST(CheckName, NamesCannotBecomePaths) {
  for (const auto* name : {"data", "a", "Data.2026_x-1", "7"})
    EXPECT_TRUE(check_name("volume name", name)) << name;
  for (const auto& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("-x"),
        std::string("a b"), std::string("a\0b", 3), std::string(64, 'a'), std::string("ä")}) {
    EXPECT_TRUE(check_name("volume name", name).failed_with(EINVAL)) << name;
  }
}

}  // namespace
}  // namespace polder
