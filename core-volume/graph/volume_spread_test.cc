// SPDX-License-Identifier: GPL-3.0-or-later
// distribute.spread auto: the files of a directory are where it is, until it has become large.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core-volume/graph/volume_stack_test_support.h"

namespace polder {
namespace {

constexpr int kSmall = 100, kMore = 600;

/// A volume for which some 250 names are many.
class VolumeSpread : public testing::Test {
 public:
  VolumeSpread() {
    volume.stop();
    for (auto& [set, brick] : volume.config.bricks) brick.ordering.large_directory_bytes = 8 << 10;
    volume.start();
    while (set_of(directory = client.dir(Gfid::root(), "d")) != 1) must(client.rmdir(Gfid::root(), "d"));
  }
  std::uint32_t set_of(const Gfid& gfid) { return volume.stack->placement().set_of(gfid); }
  std::string name(int i) { return fmt::format("file-{:04}", i); }
  /// Files by set.
  std::map<std::uint32_t, int> make(int first, int last) {
    std::map<std::uint32_t, int> made;
    for (int i = first; i < last; ++i) ++made[set_of(client.file(directory, name(i), name(i)))];
    return made;
  }
  void expect_all(int count) {
    const auto listed = client.names(directory);
    ASSERT_EQ(listed.size(), static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(listed[static_cast<std::size_t>(i)], name(i));
      ASSERT_EQ(client.content(must(client.lookup(directory, name(i))).gfid), name(i));
    }
  }

  SimVolume volume{3, Spread::kAuto};
  Client client{volume};
  Gfid directory;
};

TEST_F(VolumeSpread, FilesLeaveADirectoryThatHasBecomeLarge) {
  EXPECT_EQ(make(0, kSmall), (std::map<std::uint32_t, int>{{1, kSmall}}));
  make(kSmall, 2 * kSmall + 100);  // somewhere here
  auto later = make(2 * kSmall + 100, kMore);
  EXPECT_EQ(later.size(), 3u);
  for (auto [set, count] : later) EXPECT_GT(count, 50) << "set " << set;
  expect_all(kMore);
  volume.kill();
  volume.start();
  expect_all(kMore);
}

/// Also when the directory passes the limit while many are under way.
TEST_F(VolumeSpread, ManyClientsAtTheMomentItBecomesLarge) {
  make(0, 2 * kSmall);
  std::vector<Task<void>> tasks;
  for (std::uint32_t one = 0; one < 8; ++one)
    tasks.push_back([](VolumeSpread& test, std::uint32_t session) -> Task<void> {
      OpContext ctx{.session = 10 + session};
      for (int i = 2 * kSmall + static_cast<int>(session); i < kMore; i += 8) {
        ++ctx.sequence;
        auto opened = must(co_await test.volume.ops().create(ctx, test.directory, test.name(i),
                                                             {.mode = 0644}, O_RDWR | O_EXCL));
        ++ctx.sequence;
        must(co_await test.volume.ops().write(ctx, opened.attr.gfid, opened.handle, 0,
                                              Buffer::copy_of(test.name(i)), false));
        must(co_await test.volume.ops().release(ctx, opened.attr.gfid, opened.handle));
      }
    }(*this, one));
  volume.run(std::move(tasks));
  expect_all(kMore);
  EXPECT_THAT(volume.problems(), testing::IsEmpty());
}

TEST_F(VolumeSpread, ALargeDirectoryCanBeEmptiedAndRemoved) {
  make(0, kMore);
  for (int i = 0; i < kMore; ++i) must(client.unlink(directory, name(i)));
  must(client.rmdir(Gfid::root(), "d"));
  EXPECT_THAT(volume.problems(), testing::IsEmpty());
}

}  // namespace
}  // namespace polder
