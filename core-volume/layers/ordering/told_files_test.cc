// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/told_files.h"

#include <sys/stat.h>

#include "changelog/journal/journal_test_support.h"

namespace polder {
namespace {

class ToldFilesTest : public testing::Test, public JournalWorld {
 protected:
  ToldFilesTest() {
    options.segment_bytes = 1 << 20;
    open();
    must(journal->set_cursor("a follower", 0));
    told.emplace(*journal);
  }

  static Gfid file(std::uint8_t number) {
    Gfid gfid;
    gfid.bytes = {7};
    gfid.bytes[1] = number;
    return gfid;
  }
  /// As a change is made. Whether it has waited for the log.
  bool syncs(const Gfid& gfid, RecordKind kind = RecordKind::kWrite, std::uint64_t length = 10) {
    Record record;
    record.kind = kind;
    record.gfid = gfid;
    record.length = length;
    record.state.mode = S_IFREG | 0600;
    must(journal->append(record));
    must(told->before(record));
    const bool stable = journal->stable_index() == record.index;
    told->after(record);
    must(journal->applied(record.index));
    return stable;
  }

  std::optional<ToldFiles> told;
};

TEST_F(ToldFilesTest, TheFirstChangeOfAFilesBytesIsStableBeforeItIsMade) {
  for (auto kind : {RecordKind::kWrite, RecordKind::kTruncate, RecordKind::kPunch, RecordKind::kZero}) {
    const auto gfid = file(static_cast<std::uint8_t>(kind));
    EXPECT_TRUE(told->would_wait(gfid));
    EXPECT_TRUE(syncs(gfid, kind)) << to_string(kind);
    EXPECT_FALSE(told->would_wait(gfid));
    EXPECT_FALSE(syncs(gfid)) << to_string(kind);
  }
  EXPECT_FALSE(syncs(file(50), RecordKind::kSetattr)) << "changes no bytes";
  EXPECT_TRUE(syncs(file(50)));
}

TEST_F(ToldFilesTest, AFileWithoutOldBytesDoesNotWait) {
  EXPECT_FALSE(syncs(file(1), RecordKind::kCreate));
  EXPECT_FALSE(syncs(file(1)));
  EXPECT_FALSE(syncs(file(2), RecordKind::kTruncate, 0));
  EXPECT_FALSE(syncs(file(2)));
}

TEST_F(ToldFilesTest, ACheckpointLetsTheTailBeginAnew) {
  EXPECT_TRUE(syncs(file(1)));
  EXPECT_FALSE(syncs(file(2), RecordKind::kCreate));
  disk.on_syncfs([&] { EXPECT_TRUE(told->would_wait(file(1))) << "the checkpoint may be there already"; });
  must(journal->maintain(true));
  disk.on_syncfs({});
  EXPECT_TRUE(syncs(file(1)));
  EXPECT_TRUE(syncs(file(2)));
  EXPECT_FALSE(syncs(file(1)));
}

TEST_F(ToldFilesTest, NobodyWaitsWhereNobodyFollows) {
  must(journal->drop_cursor("a follower"));
  must(journal->set_cursor("snapshot/only keeps the log", 0));
  EXPECT_FALSE(told->would_wait(file(1)));
  EXPECT_FALSE(syncs(file(1)));
  must(journal->set_cursor("another follower", 0));
  EXPECT_TRUE(syncs(file(1)));
}

TEST_F(ToldFilesTest, TooManyCostSyncsAndNothingElse) {
  Record record;
  record.kind = RecordKind::kCreate;
  record.state.mode = S_IFREG | 0600;
  EXPECT_TRUE(syncs(file(1)));
  for (std::uint64_t i = 0; i < ToldFiles::kFilesMax; ++i) {
    record.index = 1000 + i;
    record.gfid = file(2);
    std::memcpy(record.gfid.bytes.data() + 8, &i, sizeof i);
    told->after(record);
  }
  EXPECT_TRUE(told->would_wait(file(1))) << "forgotten";
  EXPECT_FALSE(told->would_wait(record.gfid));
}

TEST_F(ToldFilesTest, ALogThatCannotBeSyncedLetsNothingHappen) {
  Record record;
  record.kind = RecordKind::kWrite;
  record.gfid = file(1);
  record.length = 10;
  must(journal->append(record));
  disk.fail_nth_sync(1, EIO);
  EXPECT_TRUE(told->before(record).failed_with(EIO));
  EXPECT_TRUE(told->would_wait(file(1)));
}

}  // namespace
}  // namespace polder
