// SPDX-License-Identifier: GPL-3.0-or-later
// A log as the kernel writes it, byte for byte.
#include "tests/vm/write_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "changelog/record/little_endian.h"
#include "tests/support/sim_disk.h"

namespace polder {
namespace {

constexpr std::size_t kSector = 512;

class WriteLogTest : public testing::Test {
 protected:
  std::byte* sector() {
    bytes_.resize(bytes_.size() + kSector);
    return bytes_.data() + bytes_.size() - kSector;
  }
  void super(std::uint64_t entries) {
    auto* at = sector();
    store_le(at, std::uint64_t{0x6a736677736872});
    store_le(at + 8, std::uint64_t{1});
    store_le(at + 16, entries);
    store_le(at + 24, std::uint32_t{kSector});
  }
  void entry(std::uint64_t first, std::uint64_t sectors, std::uint64_t flags, std::string_view text = {}) {
    auto* at = sector();
    store_le(at, first);
    store_le(at + 8, sectors);
    store_le(at + 16, flags);
    store_le(at + 24, std::uint64_t{text.size()});
    std::ranges::copy(as_bytes(text), at + 32);
  }
  void data(char of) { std::fill_n(sector(), kSector, static_cast<std::byte>(of)); }

  Result<WriteLog> open() {
    auto file = disk_.open(Disk::kNoDir, "/log", O_RDWR | O_CREAT, 0600);
    EXPECT_TRUE(file && disk_.pwrite(file->fd(), bytes_, 0));
    return WriteLog::open(disk_, "/log");
  }

  SimDisk disk_;
  std::vector<std::byte> bytes_;
};

TEST_F(WriteLogTest, EntriesAreFoundBehindOneAnothersData) {
  super(5);
  entry(4, 2, 0);
  data('a');
  data('b');
  entry(9, 8, 4);  // a discard has no data
  entry(0, 0, 8, "synced 1");
  entry(1, 1, 2);
  data('c');
  entry(0, 0, 1);
  auto log = open();
  ASSERT_TRUE(log) << log.error().message();
  const auto& found = log->entries();
  ASSERT_EQ(found.size(), 5U);
  EXPECT_EQ(found[0].offset, 4 * kSector);
  EXPECT_EQ(found[0].length, 2 * kSector);
  EXPECT_FALSE(found[0].is_durable());
  EXPECT_TRUE(found[1].discard);
  EXPECT_TRUE(found[2].mark);
  EXPECT_EQ(found[2].text, "synced 1");
  EXPECT_TRUE(found[3].fua && found[3].is_durable());
  EXPECT_TRUE(found[4].flush && found[4].is_durable());
}

TEST_F(WriteLogTest, ReplayMakesTheDeviceWhatItWas) {
  super(3);
  entry(1, 2, 0);
  data('a');
  data('b');
  entry(2, 1, 4);
  entry(0, 1, 2);
  data('c');
  auto log = open();
  ASSERT_TRUE(log) << log.error().message();
  auto device = disk_.open(Disk::kNoDir, "/device", O_RDWR | O_CREAT, 0600);
  ASSERT_TRUE(device && disk_.truncate(device->fd(), 4 * kSector));
  auto content = [&] {
    std::vector<std::byte> now(4 * kSector);
    EXPECT_TRUE(disk_.pread(device->fd(), now, 0));
    std::string firsts;
    for (std::size_t at = 0; at < now.size(); at += kSector) firsts += static_cast<char>(now[at]);
    return firsts;
  };
  ASSERT_TRUE(log->replay(log->entries()[0], *device));
  EXPECT_EQ(content(), std::string("\0ab\0", 4));
  ASSERT_TRUE(log->replay(log->entries()[1], *device));
  EXPECT_EQ(content(), std::string("\0a\0\0", 4));
  ASSERT_TRUE(log->replay(log->entries()[2], *device));
  EXPECT_EQ(content(), std::string("ca\0\0", 4));
}

TEST_F(WriteLogTest, WhatIsNoLogIsRefused) {
  super(2);
  entry(0, 0, 1);
  EXPECT_TRUE(open().failed_with(EUCLEAN));  // the second entry is missing
  bytes_[0] = std::byte{0};
  EXPECT_TRUE(open().failed_with(EUCLEAN));
}

}  // namespace
}  // namespace polder
