// SPDX-License-Identifier: GPL-3.0-or-later
// Files that somebody else writes, or has made: reading them takes bounded time and memory.
#include <zstd.h>

#include <thread>

#include "changelog/journal/journal_test_support.h"
#include "changelog/journal/segment_format.h"
#include "changelog/record/codec.h"

namespace polder {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class JournalHostileTest : public JournalTest {
 protected:
  /// Three records in one segment, and nobody who has it open.
  std::string three_records() {
    options.segment_bytes = 64 << 20;
    open();
    append(3);
    end_process();
    return read_file(segment(1));
  }
};

TEST_F(JournalHostileTest, ASegmentThatGrowsWhileItIsReadIsNotDamaged) {
  options.segment_bytes = 64 << 20;
  open();
  std::atomic<bool> done = false;
  std::jthread writer([&] {
    for (int i = 0; i < 20000 && !done; ++i) append(1);
    done = true;
  });
  while (!done) {
    auto check = must(verify_journal_directory(disks, kPath));
    ASSERT_THAT(check.damage, SizeIs(0)) << check.damage[0].what;
    if (check.records > 2000) done = true;
  }
}

TEST_F(JournalHostileTest, TheEndOfAHugeFileIsNotHeldInMemory) {
  three_records();
  {
    auto file = must(disk.open(Disk::kNoDir, path(segment(1)), O_RDWR));
    must(disk.truncate(file.fd(), std::uint64_t{1} << 40));
  }
  open();
  EXPECT_EQ(expect_all(), 3u);
  append(1);
  EXPECT_EQ(expect_all(), 4u);
}

/// A user's data may look like headers of long records, wherever one looks.
TEST_F(JournalHostileTest, ATornTailFullOfHeadersIsJudgedInTime) {
  auto content = three_records();
  std::string header(kRecordHeaderBytes, '\0');
  const std::uint32_t body_bytes = 8 << 20;
  std::memcpy(&header[4], &body_bytes, sizeof body_bytes);
  header[16] = 1;  // a write
  header[17] = 8;  // with a body
  const auto first_torn = content.size();
  while (content.size() - first_torn < (15u << 20)) content += header;
  const std::uint32_t longer = 15u << 20;  // than what is there
  std::memcpy(&content[first_torn + 4], &longer, sizeof longer);
  write_file(segment(1), content);
  EXPECT_TRUE(try_open().failed_with(EUCLEAN));
}

TEST_F(JournalHostileTest, ACompressedSegmentThatTakesTooMuchMemoryIsDamage) {
  const auto content = three_records();
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), &ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, 27);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  std::string out(ZSTD_compressBound(content.size()), '\0');
  ZSTD_inBuffer from{content.data(), content.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  ASSERT_EQ(ZSTD_compressStream2(context.get(), &to, &from, ZSTD_e_flush), 0u);
  ASSERT_EQ(ZSTD_compressStream2(context.get(), &to, &from, ZSTD_e_end), 0u);
  remove_file(segment(1));
  write_file(segment(1, true), std::string_view(out).substr(0, to.pos));
  auto check = must(verify_journal_directory(disks, kPath));
  ASSERT_THAT(check.damage, SizeIs(1));
  EXPECT_THAT(check.damage[0].what, HasSubstr("requires too much memory"));
}

}  // namespace
}  // namespace polder
