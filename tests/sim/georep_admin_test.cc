// SPDX-License-Identifier: GPL-3.0-or-later
// What an admin does around a session: pairing that is refused, other addresses, deletion; a primary that
// goes back to a snapshot, and a first sync that is interrupted.
#include <gmock/gmock.h>

#include "georep/service/relation.h"
#include "tests/sim/each_seed.h"
#include "tests/sim/fold.h"
#include "tests/sim/local_mount.h"
#include "tests/sim/sim_world.h"
#include "tests/workload/application.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kGeorep = "/v1/volumes/data/georep";
constexpr const char* kSecondary = "west:24117::data";

class GeorepAdmin : public testing::Test {
 protected:
  GeorepAdmin() { log_only_what_was_asked_for(); }

  /// The daemon's sentence; "" where it has done it.
  std::string refusal(SimSite& site, const std::string& method, const std::string& path,
                      json::object body = {}) {
    auto answer = site.try_call(method, path, std::move(body));
    return answer ? "" : answer.error().message();
  }
  std::string token_of_west(const char* role) {
    return std::string(world.west.call("POST", "/v1/cluster/token", {{"role", role}, {"volume", kSimVolume}})
                           .at("token")
                           .as_string());
  }
  std::string pairing_refused(const std::string& secondary, const std::string& token) {
    return refusal(world.east, "POST", std::string(kGeorep) + "/create",
                   {{"secondary", secondary}, {"token", token}});
  }
  static std::uint64_t sessions(SimSite& site) {
    return site.call("GET", "/v1/georep").at("sessions").as_array().size();
  }

  SimWorld world{1};
  BorrowedStack mounted{world.loop, world.mount};
  Client client{mounted};
};

TEST_F(GeorepAdmin, PairingSaysWhatIsWrong) {
  EXPECT_THAT(pairing_refused("west", token_of_west("site")), HasSubstr("HOST[:PORT]::VOLUME"));
  EXPECT_THAT(pairing_refused(kSecondary, "rubbish"), HasSubstr("token"));
  EXPECT_THAT(pairing_refused(kSecondary, token_of_west("client")), HasSubstr("--role site"));
  EXPECT_THAT(pairing_refused("west:24117::other", token_of_west("site")), HasSubstr("not for 'other'"));
  world.west.call("POST", "/v1/volumes/data/stop");
  EXPECT_THAT(pairing_refused(kSecondary, token_of_west("site")),
              HasSubstr("the secondary volume 'data' does not run"));
  world.west.call("POST", "/v1/volumes/data/start");
  world.east.call("POST", "/v1/volumes/data/stop");
  EXPECT_THAT(pairing_refused(kSecondary, token_of_west("site")), HasSubstr("volume 'data' does not run"));
  world.east.call("POST", "/v1/volumes/data/start");
  EXPECT_EQ(sessions(world.east) + sessions(world.west), 0U);
  world.pair();
  EXPECT_THAT(pairing_refused(kSecondary, token_of_west("site")), HasSubstr("already has a session"));
}

TEST_F(GeorepAdmin, ASessionIsFoundByItsOtherEnd) {
  world.pair();
  const auto start = std::string(kGeorep) + "/start", pause = std::string(kGeorep) + "/pause";
  EXPECT_THAT(refusal(world.east, "POST", start, {{"secondary", "north::data"}}),
              HasSubstr("no geo-replication session to"));
  EXPECT_THAT(refusal(world.west, "POST", start), HasSubstr("no geo-replication session;"))
      << "it is the secondary";
  world.east.call("POST", start, {{"secondary", kSecondary}});
  world.checkpoint();
  world.east.call("POST", pause, {{"secondary", kSecondary}});
  EXPECT_THAT(refusal(world.east, "POST", std::string(kGeorep) + "/verify"),
              HasSubstr("the session is Paused"));
  world.east.call("POST", "/v1/volumes/data/stop");
  EXPECT_THAT(refusal(world.east, "POST", start), HasSubstr("the session starts with it"));
  world.east.call("POST", "/v1/volumes/data/start");
  world.checkpoint();
}

TEST_F(GeorepAdmin, OtherAddressesAreUsedAtOnce) {
  world.pair();
  world.start_session();
  const auto config = std::string(kGeorep) + "/config";
  EXPECT_THAT(refusal(world.east, "POST", config, {{"key", "speed"}}), HasSubstr("there is: addresses"));
  EXPECT_NE(refusal(world.east, "POST", config, {{"key", "addresses"}, {"value", "west:24117,,"}}), "");
  const auto before = world.east.call("POST", config).at("addresses");
  EXPECT_THAT(std::string(before.as_string()), HasSubstr("west:24117"));
  world.east.call("POST", config, {{"key", "addresses"}, {"value", "nowhere:24117"}});
  client.file(Gfid::root(), "file", "content");
  world.loop.run_for(30s);
  EXPECT_NE(world.status(world.east).at("status").as_string(), "Live");
  auto answer =
      world.east.call("POST", config, {{"key", "addresses"}, {"value", "nowhere:24117,west:24117"}});
  EXPECT_EQ(answer.at("addresses").as_string(), "nowhere:24117,west:24117");
  world.checkpoint();
  EXPECT_THAT(world.differences(), IsEmpty());
}

TEST_F(GeorepAdmin, ADeletedSessionLeavesTwoOrdinaryVolumes) {
  client.file(Gfid::root(), "file", "content");
  world.pair();
  world.start_session();
  world.east.call("POST", std::string(kGeorep) + "/config",
                  {{"key", "addresses"}, {"value", "nowhere:24117,west:24117"}});
  world.checkpoint();
  world.east.call("POST", "/v1/volumes/data/stop");
  EXPECT_THAT(refusal(world.east, "DELETE", "/v1/volumes/data"), HasSubstr("has a geo-replication session"));
  world.east.call("POST", "/v1/volumes/data/start");
  const auto answer = world.east.call("POST", std::string(kGeorep) + "/delete");
  EXPECT_FALSE(answer.contains("secondary"));
  EXPECT_EQ(sessions(world.east) + sessions(world.west), 0U);
  EXPECT_THAT(must(world.east.brick().journal().cursors()), IsEmpty()) << "the log is kept for nobody";
  LocalMount mount(world.west, kSimVolume);
  must(mount.start());
  EXPECT_EQ(mount.client().names(Gfid::root()), std::vector<std::string>{"file"});
  must(mount.client().mkdir(Gfid::root(), "written here"));
}

TEST_F(GeorepAdmin, TheLogIsKeptForNoSessionThatIsDeletedWhileTheVolumeIsStopped) {
  world.pair();
  world.start_session();
  world.checkpoint();
  EXPECT_EQ(must(world.east.brick().journal().cursors()).size(), 1U);
  world.east.call("POST", "/v1/volumes/data/stop");
  world.east.call("POST", std::string(kGeorep) + "/delete");
  world.east.call("POST", "/v1/volumes/data/start");
  EXPECT_THAT(must(world.east.brick().journal().cursors()), IsEmpty());
}

TEST_F(GeorepAdmin, ASecondaryThatIsAwayStaysOne) {
  world.pair();
  world.network.partition("east", "west");
  const auto answer = world.east.call("POST", std::string(kGeorep) + "/delete");
  EXPECT_THAT(std::string(answer.at("secondary").as_string()), HasSubstr("stays read-only"));
  world.network.heal("east", "west");
  EXPECT_EQ(sessions(world.east), 0U);
  EXPECT_THAT(pairing_refused(kSecondary, token_of_west("site")), HasSubstr("is the secondary of"));
  LocalMount mount(world.west, kSimVolume);
  must(mount.start());
  EXPECT_EQ(code_of(mount.client().mkdir(Gfid::root(), "dir")), EROFS);
}

/// Until the other site's time has got there: it is for both sites to see why nothing moves.
TEST_F(GeorepAdmin, AClockThatWasFarAheadIsNamedAtBothSites) {
  world.pair();
  world.start_session();
  world.checkpoint();
  world.east.clock().set_wall_skew(1h);
  client.file(Gfid::root(), "file", "made in the future");
  world.east.clock().set_wall_skew(0s);
  world.loop.run_for(30s);
  for (auto* site : {&world.east, &world.west}) {
    const auto status = world.status(*site);
    EXPECT_EQ(status.at("status").as_string(), "Faulty") << site->name();
    EXPECT_THAT(std::string(status.at("reason").as_string()), HasSubstr("ahead of this machine's clock"))
        << site->name();
  }
  world.loop.run_for(1h);
  world.checkpoint();
  EXPECT_EQ(world.status(world.east).at("status").as_string(), "Live");
  EXPECT_THAT(world.differences(), IsEmpty());
}

/// More than one piece of a first sync has arrived when the primary dies: the rest is sent, no more. All of
/// it is there when a checkpoint says so. (Nothing changes meanwhile: the position in the log says nothing of
/// it.)
TEST_F(GeorepAdmin, AFirstSyncGoesOnWhereItWas) {
  constexpr std::size_t kFileBytes = 4 << 20, kFiles = 9;
  std::map<std::string, std::string> files;
  auto random = make_seeded_random(3);
  for (std::size_t i = 0; i < kFiles; ++i) {
    auto& content = files[fmt::format("file{}", i)];
    content.resize(kFileBytes);
    random->fill(std::span(reinterpret_cast<std::uint8_t*>(content.data()), content.size()));
  }
  for (const auto& [name, content] : files) client.file(Gfid::root(), name, content);
  world.pair();
  world.start_session();
  const auto carried = [&] { return world.network.carried_bytes("east", "west"); };
  world.network.set_speed("east", "west", 20'000'000);
  while (carried() < kFiles * kFileBytes * 2 / 3) world.loop.run_for(10ms);
  const auto before = carried();
  world.east.kill();
  world.east.boot();
  world.checkpoint();
  EXPECT_GT(carried() - before, kFiles * kFileBytes / 4);
  EXPECT_LT(carried() - before, kFiles * kFileBytes * 3 / 4);
  BorrowedStack inside(world.loop, world.west.brick().top());
  Client west(inside, 0);
  for (const auto& [name, content] : files)
    EXPECT_TRUE(west.content(must(west.lookup(Gfid::root(), name)).gfid) == content) << name;
}

// --- a primary that goes back

/// Back to a snapshot, and forth again to what that replaced; what is undone may have got to west or not.
void go_back(std::uint64_t seed) {
  SimWorld world(seed);
  auto& east = world.east;
  const auto change = [&] {
    Application application(east.stack().top(), world.loop.clock(), *world.random,
                            {.max_write_bytes = 100'000});
    world.loop.run_until_done(application.run(60));
    EXPECT_EQ(application.failure(), "");
  };
  const auto restore = [&](const std::string& snapshot) {
    east.call("POST", "/v1/volumes/data/stop");
    auto replaced = east.restore_snapshot(snapshot);
    east.call("POST", "/v1/volumes/data/start");
    return replaced;
  };
  const auto expect_both = [&](const std::vector<std::string>& wanted) {
    world.checkpoint();
    EXPECT_THAT(differing_lines(wanted, east.dump(), "east, compared with what it was"), IsEmpty());
    EXPECT_THAT(world.differences(), IsEmpty());
  };
  change();
  world.pair();
  world.start_session();
  world.checkpoint();
  east.create_snapshot("s");
  const auto first = east.dump();
  const bool arrives = world.random->below(2) == 0;
  if (!arrives) world.network.partition("east", "west");
  change();
  if (arrives) world.checkpoint();
  const auto second = east.dump();
  const auto replaced = restore("s");
  if (arrives || world.random->below(2) == 0) {
    world.network.heal("east", "west");
    expect_both(first);
  }
  change();
  restore(replaced);
  world.network.heal("east", "west");
  expect_both(second);
  change();
  world.checkpoint();
  EXPECT_THAT(world.differences(), IsEmpty());
}

TEST(GeorepRestore, TheSecondaryFollowsBackAndForth) {
  for_each_seed(seeds(4, 200), go_back);
}

}  // namespace
}  // namespace polder
