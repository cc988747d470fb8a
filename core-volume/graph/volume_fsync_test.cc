// SPDX-License-Identifier: GPL-3.0-or-later
// fsync in a volume of several sets: everything that the session did before, on whatever set, survives a
// power loss; what others did is left alone, and sets that do not run are in nobody's way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core-volume/graph/volume_stack_test_support.h"

namespace polder {
namespace {

/// A volume with a directory on each set, of which everything is stable.
class VolumeFsync : public testing::Test {
 protected:
  VolumeFsync() {
    for (int i = 0; directories.size() < 3; ++i) {
      auto gfid = client.dir(Gfid::root(), "d" + std::to_string(i));
      directories.emplace(volume.stack->placement().set_of(gfid), gfid);
    }
    must(client.sync());
  }

  bool is_stable(std::uint32_t set) {
    auto& journal = volume.stack->brick(set)->journal();
    return journal.stable_index() == journal.appended_index();
  }
  /// A file of `set`, which is on that set's log and not stable.
  Gfid change(Client& who, std::uint32_t set, const std::string& name) {
    auto file = who.file(directories.at(set), name, "data");
    EXPECT_FALSE(is_stable(set));
    return file;
  }

  SimVolume volume{3, Spread::kDirs, 1, true};
  Client client{volume, 3}, other{volume, 4};
  std::map<std::uint32_t, Gfid> directories;
};

TEST_F(VolumeFsync, SyncsWhatTheSessionChangedAndNoOthers) {
  auto file = change(client, 0, "file");
  change(client, 1, "file");
  change(other, 2, "file");
  must(client.fsync(file));
  EXPECT_TRUE(is_stable(0));
  EXPECT_TRUE(is_stable(1));
  EXPECT_FALSE(is_stable(2));
  must(other.fsync(file));
  EXPECT_TRUE(is_stable(2));
}

TEST_F(VolumeFsync, CoversEveryPartOfATransaction) {
  change(client, 1, "file");
  must(client.rename(directories.at(1), "file", directories.at(2), "moved"));
  must(client.fsync(directories.at(0)));
  EXPECT_TRUE(is_stable(1));
  EXPECT_TRUE(is_stable(2));
}

/// The first task ends only after the last one has begun.
class MeetingPeers final : public SetPeers {
 public:
  SetPeer* peer(std::uint32_t) override { return nullptr; }
  std::vector<Task<Result<void>>> sync_session(std::uint32_t, std::uint32_t) override {
    std::vector<Task<Result<void>>> tasks;
    for (int i = 0; i < kPeers; ++i) tasks.push_back(meet());
    return tasks;
  }
  int begun = 0;

 private:
  static constexpr int kPeers = 3;
  Task<Result<void>> meet() {
    if (++begun == kPeers) all_.notify_all();
    while (begun < kPeers) {
      CO_TRY(co_await all_.wait());
    }
    co_return Result<void>();
  }
  Event all_;
};

TEST(BrickFsync, AsksAllSetsAtOnce) {
  Placement placement;
  MeetingPeers peers;
  SimBrick node;
  node.stop();
  node.config.placement = &placement;
  node.config.peers = &peers;
  node.start();
  Client client(node);
  must(client.fsync(Gfid::root()));
  EXPECT_EQ(peers.begun, 3);
}

TEST_F(VolumeFsync, ASetThatDoesNotRunIsInTheWayOfThoseWhoseChangesItHas) {
  auto file = client.file(directories.at(0), "file", "data");
  must(client.sync());
  change(other, 1, "lost?");
  volume.disk_of(1).freeze();
  must(volume.run_one(volume.stack->check(true)));
  ASSERT_TRUE(volume.stack->failures().contains(1));
  EXPECT_TRUE(client.fsync(file)) << "it changed nothing there";
  volume.run_one(volume.stack->start_failed());
  EXPECT_TRUE(client.fsync(file));
  auto told = other.fsync(file);
  ASSERT_TRUE(told.failed_with(EIO));
  EXPECT_THAT(told.error().message(), testing::HasSubstr("may be lost"));
  EXPECT_TRUE(other.fsync(file)) << "it was told";
  volume.disk_of(1).heal();
  volume.run_one(volume.stack->start_failed());
  ASSERT_TRUE(volume.stack->failures().empty());
  EXPECT_TRUE(other.fsync(file));
}

TEST_F(VolumeFsync, NothingIsLostOfASetThatCouldStillSync) {
  auto file = client.file(directories.at(0), "file", "data");
  change(client, 1, "kept");
  must(volume.disk_of(1).rename(Disk::kNoDir, "/b1", Disk::kNoDir, "/gone"));
  must(volume.run_one(volume.stack->check(false)));
  must(volume.disk_of(1).rename(Disk::kNoDir, "/gone", Disk::kNoDir, "/b1"));
  volume.run_one(volume.stack->start_failed());
  ASSERT_TRUE(volume.stack->failures().empty());
  EXPECT_TRUE(client.fsync(file));
  EXPECT_TRUE(client.lookup(directories.at(1), "kept"));
}

}  // namespace
}  // namespace polder
