// SPDX-License-Identifier: GPL-3.0-or-later
// What an admin may ask of snapshots: limits, what they are and would undo, activation over restarts, what
// stands in the way of a volume's deletion.
#include <gmock/gmock.h>

#include "tests/sim/cluster_world.h"
#include "tests/sim/local_mount.h"
#include "tests/sim/sim_world.h"

namespace polder {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kConfig = "/v1/snapshot-config";

class SnapshotAdmin : public testing::Test {
 protected:
  SnapshotAdmin() { log_only_what_was_asked_for(); }

  /// Of a request that must fail.
  Error refusal(const std::string& method, const std::string& path, json::object body = {}) {
    auto answer = site.try_call(method, path, std::move(body));
    if (answer) throw std::runtime_error(method + " " + path + " was not refused");
    return std::move(answer).error();
  }
  json::object set(const char* volume, const char* key, const char* value) {
    return site.call("POST", kConfig, {{"volume", volume}, {"key", key}, {"value", value}});
  }
  Client inside() {
    return Client(*(stack = std::make_unique<BorrowedStack>(world.loop, site.stack().top())), 0);
  }
  void stop() { site.call("POST", "/v1/volumes/data/stop"); }

  ClusterWorld world{1, {.bricks = 1, .mounts = 0}};
  SimSite& site = world.site;
  std::unique_ptr<BorrowedStack> stack;
};

TEST_F(SnapshotAdmin, LimitsOfAllVolumesAndOfOne) {
  EXPECT_EQ(site.call("GET", kConfig).at("snap-max-hard-limit").to_number<int>(), 256);
  set("*", "snap-max-hard-limit", "2");
  EXPECT_EQ(site.call("GET", kConfig, {{"volume", "data"}}).at("snap-max-hard-limit").to_number<int>(), 2);
  site.create_snapshot("a");
  site.create_snapshot("b");
  const json::object third{{"name", "c"}, {"volume", "data"}, {"timestamp", false}};
  EXPECT_THAT(refusal("POST", "/v1/snapshots", third).message(), HasSubstr("its snap-max-hard-limit is 2"));
  set("data", "snap-max-hard-limit", "3");
  set("data", "activate-on-create", "on");
  EXPECT_EQ(site.call("GET", kConfig).at("activate-on-create").as_string(), "off");
  EXPECT_EQ(site.call("POST", "/v1/snapshots", third).at("status").as_string(), "Started");
  EXPECT_EQ(site.snapshots().size(), 3U);
}

TEST_F(SnapshotAdmin, WrongLimitsChangeNothing) {
  for (const char* value : {"", "0", "257", "-1", "2x", "18446744073709551617"})
    EXPECT_TRUE(refusal("POST", kConfig, {{"key", "snap-max-hard-limit"}, {"value", value}}).is(EINVAL))
        << value;
  EXPECT_TRUE(refusal("POST", kConfig, {{"key", "activate-on-create"}, {"value", "yes"}}).is(EINVAL));
  EXPECT_TRUE(refusal("POST", kConfig, {{"key", "auto-delete"}, {"value", "on"}}).is(EINVAL));
  const json::object of_none{{"volume", "none"}, {"key", "activate-on-create"}, {"value", "on"}};
  EXPECT_TRUE(refusal("POST", kConfig, of_none).is(ENOENT));
  EXPECT_TRUE(refusal("GET", kConfig, {{"volume", "none"}}).is(ENOENT));
  EXPECT_TRUE(refusal("GET", "/v1/snapshots", {{"volume", "none"}}).is(ENOENT));
  const auto limits = site.call("GET", kConfig);
  EXPECT_EQ(limits.at("snap-max-hard-limit").to_number<int>(), 256);
  EXPECT_EQ(limits.at("activate-on-create").as_string(), "off");
}

TEST_F(SnapshotAdmin, WhatIsKnownOfOne) {
  EXPECT_TRUE(refusal("GET", "/v1/snapshots/s").is(ENOENT));
  site.create_snapshot("s");
  const auto snapshot = site.call("GET", "/v1/snapshots/s");
  EXPECT_EQ(snapshot.at("volume").as_string(), kSimVolume);
  EXPECT_TRUE(site.call("GET", "/v1/snapshots/s/status").at("present").as_bool());
  const std::string brick(snapshot.at("brick").as_string());
  auto backend = must(site.volume_manager().make(brick.substr(brick.find(':') + 1)));
  must(backend->remove(std::string(snapshot.at("id").as_string())));
  EXPECT_FALSE(site.call("GET", "/v1/snapshots/s/status").at("present").as_bool()) << "somebody took it away";
}

TEST_F(SnapshotAdmin, WhatARestoreWouldUndo) {
  site.create_snapshot("s");
  for (const char* name : {"one", "two", "three"}) inside().dir(Gfid::root(), name);
  EXPECT_TRUE(refusal("GET", "/v1/snapshots/s/restore").is(EBUSY));
  EXPECT_TRUE(refusal("POST", "/v1/snapshots/s/restore").is(EBUSY));
  stop();
  const auto effects = site.call("GET", "/v1/snapshots/s/restore");
  EXPECT_GE(effects.at("records_since").to_number<int>(), 3);
  EXPECT_TRUE(effects.at("log_reaches_back").as_bool());
  EXPECT_THAT(effects.at("sessions").as_array(), IsEmpty());
}

TEST_F(SnapshotAdmin, AVolumeWithSnapshotsStays) {
  site.create_snapshot("s");
  stop();
  EXPECT_THAT(refusal("DELETE", "/v1/volumes/data").message(), HasSubstr("has snapshots (s)"));
  site.remove_snapshot("s");
  site.call("DELETE", "/v1/volumes/data");
}

TEST_F(SnapshotAdmin, AnActivatedOneIsServedAlsoAfterRestarts) {
  inside().file(Gfid::root(), "file", "content");
  site.create_snapshot("s");
  inside().file(Gfid::root(), "later", "content");
  {
    LocalMount mount(site, "s");
    EXPECT_THAT(mount.start().error().message(), HasSubstr("polder snapshot activate s"));
  }
  site.call("POST", "/v1/snapshots/s/activate");
  EXPECT_TRUE(refusal("POST", "/v1/snapshots/s/activate").is(EALREADY));
  const auto expect_served = [&] {
    LocalMount mount(site, "s");
    must(mount.start());
    EXPECT_EQ(mount.client().names(Gfid::root()), std::vector<std::string>{"file"});
    EXPECT_EQ(mount.client().content(must(mount.client().lookup(Gfid::root(), "file")).gfid), "content");
    EXPECT_EQ(code_of(mount.client().mkdir(Gfid::root(), "dir")), EROFS);
  };
  expect_served();
  site.shut_down();
  site.boot();
  expect_served();
  site.kill();
  site.boot();
  expect_served();
  site.lose_power(1);
  site.boot();
  expect_served();
  site.call("POST", "/v1/snapshots/s/deactivate");
  EXPECT_TRUE(refusal("POST", "/v1/snapshots/s/deactivate").is(EALREADY));
}

}  // namespace
}  // namespace polder
