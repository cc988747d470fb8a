// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/export.h"

#include <gmock/gmock.h>

#include "core-volume/layers/store/store_test_support.h"

namespace polder {
namespace {

class ExportTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "kernel" && ::geteuid() != 0) GTEST_SKIP() << "needs root: trusted extended attributes";
    test_disk = std::make_unique<TestDisk>(GetParam());
    brick = test_disk->path("b");
    destination = test_disk->path("out");
    must(Store::format(disk(), brick, kTestIdentity, 1));
    store = must(Store::open(disk(), brick, {}));
  }
  Disk& disk() { return test_disk->disk(); }
  Record applied(Record record) {
    must(store->apply(record));
    return record;
  }
  struct stat at(const std::string& path) {
    return must(disk().stat(Disk::kNoDir, destination + "/" + path));
  }

  std::unique_ptr<TestDisk> test_disk;
  std::string brick, destination;
  std::unique_ptr<Store> store;
  RecordMaker records;
};

TEST_P(ExportTest, WholeTreeComesBack) {
  auto dir = applied(records.create(Gfid::root(), "dir", S_IFDIR | 0000));
  auto deep = applied(records.create(dir.gfid, "deep", S_IFDIR | 02770));
  auto file = records.create(dir.gfid, "file", S_IFREG | 07777);
  file.state.uid = 12;
  file.state.xattrs = {{"user.k", "v"}, {"trusted.other", "t"}};
  file.state.mtime = {1234, 567};
  applied(file);
  applied(records.link(file.gfid, deep.gfid, "hard"));
  auto link = applied(records.create(deep.gfid, "link", S_IFLNK | 0777));
  applied(records.create(deep.gfid, "fifo", S_IFIFO | 0600));
  auto device = applied(records.create(deep.gfid, std::string(255, '\xff'), S_IFCHR | 0600));
  auto sparse = applied(records.create(Gfid::root(), "sparse", S_IFREG | 0644));
  applied(records.write(sparse.gfid, 10 << 20, "end"));
  applied(records.truncate(sparse.gfid, 20 << 20));
  store.reset();

  auto report = must(export_bricks(disk(), {brick}, destination));
  EXPECT_EQ(report.directories, 3u);
  EXPECT_EQ(report.files, 5u);
  EXPECT_EQ(report.links, 1u);

  EXPECT_EQ(at("dir").st_mode, S_IFDIR | 0000u);
  EXPECT_EQ(at("dir/deep").st_mode, S_IFDIR | 02770u);
  EXPECT_EQ(at("dir/file").st_mode, S_IFREG | 07777u);
  EXPECT_EQ(at("dir/file").st_uid, 12u);
  EXPECT_EQ(at("dir/file").st_nlink, 2u);
  EXPECT_EQ(at("dir/file").st_ino, at("dir/deep/hard").st_ino);
  EXPECT_EQ(must(disk().get_xattr_at(Disk::kNoDir, destination + "/dir/file", "user.k")), "v");
  EXPECT_EQ(must(disk().list_xattr_at(Disk::kNoDir, destination + "/dir/file")).size(), 2u);
  EXPECT_EQ(must(disk().readlink(Disk::kNoDir, destination + "/dir/deep/link")), link.state.target);
  EXPECT_TRUE(layout::same_time(at("dir/deep/link").st_mtim, link.state.mtime));
  EXPECT_TRUE(S_ISFIFO(at("dir/deep/fifo").st_mode));
  EXPECT_TRUE(S_ISCHR(at("dir/deep/" + std::string(255, '\xff')).st_mode));
  EXPECT_TRUE(layout::same_time(at("dir/deep").st_mtim, Hlc{device.time_ns}.to_timespec()));
  EXPECT_EQ(at("sparse").st_size, 20 << 20);
  EXPECT_LT(at("sparse").st_blocks, 1000);
  EXPECT_LT(report.bytes, 1u << 20);
}

TEST_P(ExportTest, RefusesWhatWouldMixTrees) {
  auto refusal = [&](const std::vector<std::string>& bricks, const std::string& to) {
    auto result = export_bricks(disk(), bricks, to);
    return result ? "exported" : result.error().message();
  };
  EXPECT_THAT(refusal({brick}, destination), testing::HasSubstr("in use"));
  store.reset();
  EXPECT_THAT(refusal({brick}, brick + "/x"), testing::HasSubstr("inside brick"));
  EXPECT_THAT(refusal({}, destination), testing::HasSubstr("no brick"));
  must(disk().mkdir(Disk::kNoDir, destination, 0755));
  must(disk().mkdir(Disk::kNoDir, destination + "/x", 0755));
  EXPECT_THAT(refusal({brick}, destination), testing::HasSubstr("not empty"));
  EXPECT_THAT(refusal({test_disk->path("none")}, destination), testing::HasSubstr("No such file"));
  auto other = kTestIdentity;
  other.volume = Gfid{{77}};
  must(Store::format(disk(), test_disk->path("b2"), other, 1));
  EXPECT_THAT(refusal({brick, test_disk->path("b2")}, test_disk->path("out2")),
              testing::HasSubstr(other.volume.hex()));
}

INSTANTIATE_TEST_SUITE_P(Disks, ExportTest, testing::Values("sim", "kernel"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace polder
