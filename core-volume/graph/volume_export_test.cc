// SPDX-License-Identifier: GPL-3.0-or-later
// The bricks of several sets, without a daemon, give the whole tree back.
#include <gmock/gmock.h>

#include "core-volume/graph/volume_stack_test_support.h"
#include "core-volume/layers/store/export.h"

namespace polder {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

struct VolumeExport : testing::Test {
  SimVolume volume;
  Client client{volume};
  std::map<std::uint32_t, std::string> directory;  // one on each set
  std::map<std::uint32_t, Gfid> gfid;

  void SetUp() override {
    for (int i = 0; gfid.size() < 3 && i < 1000; ++i) {
      auto name = "d" + std::to_string(i);
      auto made = must(client.mkdir(Gfid::root(), name)).gfid;
      auto set = volume.stack->placement().set_of(made);
      gfid.try_emplace(set, made);
      directory.try_emplace(set, name);
    }
  }
  ExportReport exported(const std::vector<std::string>& bricks) {
    return must(export_bricks(volume.disk, bricks, "/out"));
  }
  struct stat at(const std::string& path) { return must(volume.disk.stat(Disk::kNoDir, "/out/" + path)); }
  std::string content(const std::string& path) {
    auto file = must(volume.disk.open(Disk::kNoDir, "/out/" + path, O_RDONLY));
    std::string text(64, '\0');
    text.resize(must(volume.disk.pread(file.fd(), Bytes(reinterpret_cast<std::byte*>(text.data()), 64), 0)));
    return text;
  }
};

TEST_F(VolumeExport, EntriesAreFollowedToTheBrickThatHasTheObject) {
  client.file(gfid[0], "stays", "zero");
  auto linked = client.file(gfid[0], "here", "linked");
  must(client.link(linked, gfid[1], "there"));
  client.file(gfid[1], "moves", "moved");
  must(client.rename(gfid[1], "moves", gfid[2], "moved"));
  must(client.symlink(gfid[0], "link", "to/somewhere"));
  must(client.rename(gfid[0], "link", gfid[2], "link"));
  auto below = must(client.mkdir(gfid[2], "below")).gfid;
  client.file(below, "deep", "deep");
  volume.stop();

  auto report = exported({"/b2", "/b0", "/b1"});
  EXPECT_TRUE(report.missing.empty());
  EXPECT_EQ(report.files, 5U);
  EXPECT_EQ(report.links, 1U);
  EXPECT_EQ(content(directory[0] + "/stays"), "zero");
  EXPECT_EQ(content(directory[2] + "/moved"), "moved");
  EXPECT_EQ(content(directory[2] + "/below/deep"), "deep");
  EXPECT_EQ(must(volume.disk.readlink(Disk::kNoDir, "/out/" + directory[2] + "/link")), "to/somewhere");
  EXPECT_EQ(at(directory[0] + "/here").st_ino, at(directory[1] + "/there").st_ino);
  EXPECT_EQ(at(directory[0] + "/here").st_nlink, 2U);
  EXPECT_FALSE(volume.disk.stat(Disk::kNoDir, "/out/" + directory[1] + "/moves"));
}

TEST_F(VolumeExport, WithoutABrickTheRestIsExportedAndWhatIsMissingIsNamed) {
  client.file(gfid[0], "stays", "zero");
  client.file(gfid[1], "moves", "moved");
  must(client.rename(gfid[1], "moves", gfid[0], "moved"));
  volume.stop();
  auto report = exported({"/b0", "/b2"});
  EXPECT_EQ(content(directory[0] + "/stays"), "zero");
  EXPECT_THAT(report.missing, Contains(directory[1]));
  EXPECT_THAT(report.missing, Contains(directory[0] + "/moved"));
  EXPECT_THAT(report.sets, ElementsAre(0, 2));
  auto rootless = export_bricks(volume.disk, {"/b1"}, "/out2");
  ASSERT_FALSE(rootless);
  EXPECT_THAT(rootless.error().message(), HasSubstr("set 0"));
}

}  // namespace
}  // namespace polder
