// SPDX-License-Identifier: GPL-3.0-or-later
// Sealing, compression, retention and cursors; checks; directories without a daemon.
#include <xxhash.h>
#include <zstd.h>

#include "changelog/journal/journal_test_support.h"

namespace polder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class JournalMaintainTest : public JournalTest {
 protected:
  JournalMaintainTest() {
    options.segment_bytes = 1 << 20;  // only maintain(true) seals
    options.keep_sealed = 100;
  }
  /// One segment of `count` records.
  void add_segment(std::uint64_t count = 10) {
    append(count);
    must(journal->maintain(true));
  }
  Cursor cursor(const std::string& name) {
    for (const Cursor& found : must(journal->cursors()))
      if (found.name == name) return found;
    ADD_FAILURE() << "no cursor " << name;
    return {};
  }
};

TEST_F(JournalMaintainTest, SealsByAgeAndNeverAnEmptySegment) {
  options.compress_sealed = false;
  open();
  clock.advance_to(std::chrono::hours(2));
  must(journal->maintain());
  must(journal->maintain(true));
  EXPECT_THAT(files(), ElementsAre(segment(1)));
  append(1);
  must(journal->maintain());
  EXPECT_THAT(files(), ElementsAre(segment(1)));
  clock.advance_to(std::chrono::hours(4));
  must(journal->maintain());
  EXPECT_THAT(files(), ElementsAre(segment(1), segment(2)));
}

TEST_F(JournalMaintainTest, CompressesWhatEveryCursorPassedOrIsOld) {
  open();
  must(journal->set_cursor("slow", 0));
  add_segment();
  EXPECT_THAT(files(), ElementsAre(segment(1), segment(11)));
  must(journal->set_cursor("slow", 10));
  must(journal->maintain());
  EXPECT_THAT(files(), ElementsAre(segment(1, true), segment(11)));
  add_segment();
  add_segment();
  EXPECT_THAT(files(), ElementsAre(segment(1, true), segment(11, true), segment(21), segment(31)));
  EXPECT_EQ(expect_all(), 30u);
  expect_sound();
  kill();
  EXPECT_EQ(expect_all(), 30u);
  expect_sound();
}

TEST_F(JournalMaintainTest, ACompressedSegmentIsTheSameFileForOtherTools) {
  options.compress_sealed = false;
  open();
  add_segment(50);
  const std::string plain = read_file(segment(1));
  journal.reset();
  options.compress_sealed = true;
  open();
  must(journal->maintain());
  const std::string compressed = read_file(segment(1, true));
  EXPECT_LT(compressed.size(), plain.size());
  std::string back(plain.size(), '\0');
  ASSERT_EQ(ZSTD_decompress(back.data(), back.size(), compressed.data(), compressed.size()), plain.size());
  EXPECT_EQ(back, plain);
}

TEST_F(JournalMaintainTest, AReaderGoesOnWhileItsSegmentIsSealedAndCompressed) {
  open();
  append(20);
  must(journal->sync());
  auto reader = must(journal->read_from(1));
  for (std::uint64_t n = 1; n <= 5; ++n) EXPECT_EQ(must(reader->next())->index, n);
  must(journal->maintain(true));
  EXPECT_THAT(files(), ElementsAre(segment(1, true), segment(21)));
  append(10);
  must(journal->sync());
  EXPECT_EQ(expect_samples(*reader, 6), 31u);
}

TEST_F(JournalMaintainTest, KeepsWhatACursorHasNotPassed) {
  options.keep_sealed = 1;
  open();
  must(journal->set_cursor("east", 0));
  must(journal->set_cursor("west", 0));
  for (int n = 0; n < 4; ++n) add_segment();
  EXPECT_EQ(journal->first_index(), 1u);
  must(journal->set_cursor("east", 40));
  must(journal->set_cursor("west", 25));
  must(journal->maintain());
  EXPECT_EQ(journal->first_index(), 21u);
  must(journal->set_cursor("west", 40));
  must(journal->maintain());
  EXPECT_EQ(journal->first_index(), 31u) << "the newest sealed one stays";
  EXPECT_EQ(expect_all(), 40u);
  expect_sound();
  auto gone = journal->read_from(30);
  ASSERT_TRUE(gone.failed_with(ENODATA));
  EXPECT_THAT(gone.error().message(), HasSubstr("record 30"));
  kill();
  EXPECT_EQ(journal->first_index(), 31u);
  EXPECT_EQ(expect_all(), 40u);
}

TEST_F(JournalMaintainTest, BeyondTheCapTheSlowestIsToldToRescan) {
  options.retention_bytes = 5000;
  options.compress_sealed = false;
  open();
  must(journal->set_cursor("dead", 0));
  must(journal->set_cursor("alive", 0));
  auto reader = must(journal->read_from(1));
  must(journal->sync());
  for (int n = 0; n < 10; ++n) {
    add_segment();
    must(journal->set_cursor("alive", journal->stable_index()));
  }
  must(journal->maintain());
  std::uint64_t stored = 0;
  for (const std::string& name : files()) stored += read_file(name).size();
  EXPECT_LE(stored, options.retention_bytes);
  EXPECT_GT(journal->first_index(), 11u);
  EXPECT_TRUE(cursor("dead").must_rescan);
  EXPECT_FALSE(cursor("alive").must_rescan);
  EXPECT_TRUE(reader->next().failed_with(ENODATA));
  // A consumer that does not know goes on from its old place: it stays marked.
  must(journal->set_cursor("dead", 4));
  EXPECT_TRUE(cursor("dead").must_rescan);
  must(journal->set_cursor("dead", journal->stable_index()));
  EXPECT_FALSE(cursor("dead").must_rescan);
  kill();
  EXPECT_FALSE(cursor("dead").must_rescan);
  expect_sound();
}

TEST_F(JournalMaintainTest, WhatMayHaveToBeRedoneIsNeverDropped) {
  options.retention_bytes = 1;
  options.keep_sealed = 0;
  open();
  append(10);
  append(1, false);
  append(9);
  must(journal->maintain(true));
  add_segment();
  EXPECT_EQ(journal->first_index(), 1u);
  crash(1);
  open();
  EXPECT_EQ(journal->applied_index(), 10u);
  auto redo = must(journal->unapplied());
  ASSERT_FALSE(redo.empty());
  EXPECT_EQ(redo.front().index, 11u);
  for (const Record& record : redo) must(journal->applied(record.index));
  must(journal->maintain(true));
  EXPECT_EQ(journal->first_index(), journal->appended_index() + 1);
}

TEST_F(JournalMaintainTest, CursorsAreKeptAndDropped) {
  open();
  append(5);
  EXPECT_TRUE(journal->set_cursor("ahead", 1).failed_with(EINVAL)) << "not stable";
  must(journal->sync());
  must(journal->set_cursor("b", 5));
  must(journal->set_cursor("a", 2));
  EXPECT_TRUE(journal->set_cursor("", 1).failed_with(EINVAL));
  EXPECT_TRUE(journal->set_cursor(std::string(256, 'x'), 1).failed_with(EINVAL));
  EXPECT_TRUE(journal->drop_cursor("c").failed_with(ENOENT));
  kill();
  auto all = must(journal->cursors());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name, "a");
  EXPECT_EQ(all[0].index, 2u);
  must(journal->drop_cursor("a"));
  kill();
  EXPECT_EQ(must(journal->cursors()).size(), 1u);
}

TEST_F(JournalMaintainTest, WhoeverBeginsToReadFindsEverythingStable) {
  open();
  append(5);
  const auto changes = journal->cursor_changes();
  must(journal->set_cursor("new", 0));
  EXPECT_EQ(journal->stable_index(), 5u);
  EXPECT_THAT(journal->cursor_names(), ElementsAre("new"));
  const auto made = journal->cursor_changes();
  EXPECT_GT(made, changes);

  append(2);
  must(journal->set_cursor("new", 5));
  EXPECT_EQ(journal->stable_index(), 5u) << "a cursor that moves costs no sync";
  EXPECT_EQ(journal->cursor_changes(), made);

  must(journal->drop_cursor("new"));
  EXPECT_GT(journal->cursor_changes(), made);
  EXPECT_THAT(journal->cursor_names(), ElementsAre());
}

TEST_F(JournalMaintainTest, ACheckpointIsAnnouncedBeforeItSyncs) {
  open();
  append(5);
  EXPECT_EQ(journal->next_checkpoint_index(), 0u);
  int checkpoints = 0;
  disk.on_syncfs([&] {
    ++checkpoints;
    EXPECT_EQ(journal->next_checkpoint_index(), 5u);
    EXPECT_EQ(journal->checkpoint_index(), 0u);
    EXPECT_EQ(journal->stable_index(), 5u);
  });
  must(journal->maintain(true));
  EXPECT_EQ(checkpoints, 1);
  EXPECT_EQ(journal->checkpoint_index(), 5u);
  disk.on_syncfs({});
  kill();
  EXPECT_EQ(journal->next_checkpoint_index(), 5u);
}

TEST_F(JournalMaintainTest, AFlippedBitInASealedSegmentIsFoundAndNeverSkipped) {
  for (bool compressed : {false, true}) {
    SCOPED_TRACE(compressed);
    JournalWorld world;
    world.options.compress_sealed = compressed;
    world.options.segment_bytes = 1 << 20;
    world.open();
    world.append(10);
    must(world.journal->maintain(true));
    world.append(5);
    must(world.journal->sync());
    const std::string name = segment(1, compressed), whole = world.read_file(name);
    std::size_t harmless = 0;
    for (std::size_t byte = 0; byte < whole.size(); byte += compressed ? 1 : 5) {
      SCOPED_TRACE(byte);
      std::string bad = whole;
      bad[byte] = static_cast<char>(bad[byte] ^ 0x10);
      world.write_file(name, bad);
      auto check = must(world.journal->verify());
      EXPECT_EQ(check.segments, 2u);
      if (compressed && check.damage.empty()) {  // zstd has a few bits that mean nothing
        ++harmless;
        ASSERT_EQ(world.expect_all(), 15u);
        continue;
      }
      ASSERT_EQ(check.damage.size(), 1u);
      EXPECT_EQ(check.damage[0].segment, name);
      EXPECT_EQ(must(verify_journal_directory(world.disks, kPath)).damage.size(), 1u);
      auto reader = must(world.journal->read_from(1));
      Result<std::optional<Record>> last = std::nullopt;
      for (std::uint64_t n = 1; (last = reader->next()) && *last; ++n) ASSERT_EQ((*last)->index, n);
      ASSERT_TRUE(last.failed_with(EUCLEAN));
      EXPECT_THAT(last.error().message(), HasSubstr(name));
    }
    EXPECT_LT(harmless, whole.size() / 20);
    world.write_file(name, whole);
    world.expect_sound();
  }
}

TEST_F(JournalMaintainTest, DamageIsNotCompressedAway) {
  options.compress_sealed = false;
  open();
  add_segment();
  journal.reset();
  std::string bad = read_file(segment(1));
  bad[300] = static_cast<char>(bad[300] ^ 1);
  write_file(segment(1), bad);
  options.compress_sealed = true;
  open();
  auto maintained = journal->maintain();
  ASSERT_TRUE(maintained.failed_with(EUCLEAN));
  EXPECT_THAT(maintained.error().message(), HasSubstr(segment(1)));
  EXPECT_THAT(files(), ElementsAre(segment(1), segment(11)));
}

TEST_F(JournalMaintainTest, ADirectoryIsReadWithoutItsDaemonAndWithoutAChange) {
  open();
  add_segment();
  add_segment();
  append(7);
  auto before = files();
  // While the daemon has it.
  auto reader = must(read_journal_directory(disks, kPath, 4));
  EXPECT_EQ(expect_samples(*reader, 4), 28u);
  end_process();
  const std::string newest = segment(21), whole = read_file(newest);
  write_file(newest, whole.substr(0, whole.size() - 3));  // torn
  reader = must(read_journal_directory(disks, kPath, 1));
  EXPECT_EQ(expect_samples(*reader, 1), 27u);
  auto check = must(verify_journal_directory(disks, kPath));
  EXPECT_TRUE(check.damage.empty());
  EXPECT_EQ(check.segments, 3u);
  EXPECT_EQ(check.records, 26u);
  EXPECT_EQ(check.first_index, 1u);
  EXPECT_EQ(check.last_index, 26u);
  EXPECT_EQ(files(), before);
  EXPECT_EQ(read_file(newest).size(), whole.size() - 3);
  EXPECT_TRUE(read_journal_directory(disks, "/none", 1).failed_with(ENOENT));
  EXPECT_TRUE(verify_journal_directory(disks, "/").failed_with(ENOENT));
}

}  // namespace
}  // namespace polder
