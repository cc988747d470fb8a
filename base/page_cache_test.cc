// SPDX-License-Identifier: GPL-3.0-or-later
// On this machine's kernel: its /run, and a file with holes.
#include "base/page_cache.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

namespace polder {
namespace {

constexpr PageCacheOf kBrick{.lineage = Gfid{{0xfe, 0xed}}, .set = 7};
constexpr const char* kNote = "/run/polder/failed-syncs/feed0000000000000000000000000000-7";

TEST(PageCacheTest, EachFailedSyncGivesItAnotherId) {
  std::filesystem::remove(kNote);
  const auto disk = make_kernel_disk();
  const auto boot_id = disk->boot_id().value();
  const auto before = page_cache(*disk, kBrick).value();
  EXPECT_EQ(before.id, boot_id);
  EXPECT_FALSE(before.sync_failed);
  distrust_page_cache(*disk, kBrick);
  const auto once = page_cache(*disk, kBrick).value();
  EXPECT_TRUE(once.sync_failed);
  EXPECT_NE(once.id, boot_id);
  EXPECT_LE(once.id.size(), 40u);
  distrust_page_cache(*disk, kBrick);
  EXPECT_NE(page_cache(*disk, kBrick).value().id, once.id);
  EXPECT_EQ(page_cache(*disk, {kBrick.lineage, 8}).value().id, boot_id);
  std::filesystem::remove(kNote);
}

TEST(PageCacheTest, WritingAgainChangesNothing) {
  std::string path = "/var/tmp/polder-page-cache-test.XXXXXX";
  const int made = ::mkstemp(path.data());
  ASSERT_GE(made, 0);
  ::close(made);
  const auto disk = make_kernel_disk();
  auto file = disk->open(Disk::kNoDir, path, O_RDWR).value();
  ASSERT_TRUE(disk->truncate(file.fd(), 8 << 20));
  ASSERT_TRUE(disk->pwrite(file.fd(), as_bytes("text"), 3 << 20));
  ASSERT_TRUE(disk->fsync(file.fd()));
  const auto blocks = disk->fstat(file.fd()).value().st_blocks;
  ASSERT_TRUE(write_again(*disk, file.fd(), 0, 100 << 20));
  ASSERT_TRUE(disk->fsync(file.fd()));
  const auto after = disk->fstat(file.fd()).value();
  EXPECT_EQ(after.st_size, 8 << 20);
  EXPECT_EQ(after.st_blocks, blocks) << "holes stay";
  std::string text(4, '\0');
  ASSERT_TRUE(disk->pread(file.fd(), std::as_writable_bytes(std::span(text)), 3 << 20));
  EXPECT_EQ(text, "text");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace polder
