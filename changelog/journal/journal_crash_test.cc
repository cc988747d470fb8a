// SPDX-License-Identifier: GPL-3.0-or-later
// Kill, power loss, damage, and every disk call failing once.
#include <set>

#include "base/crash_point.h"
#include "changelog/journal/journal_test_support.h"

namespace polder {
namespace {

using testing::HasSubstr;

class JournalCrashTest : public JournalTest {};

std::vector<std::uint64_t> indexes(const std::vector<Record>& records) {
  std::vector<std::uint64_t> all;
  for (const Record& record : records) all.push_back(record.index);
  return all;
}

TEST_F(JournalCrashTest, AKilledProcessLosesNothingItAppended) {
  open();
  for (std::uint64_t round = 1; round <= 20; ++round) {
    append(7);
    kill();
    ASSERT_EQ(expect_all(), round * 7);
    ASSERT_EQ(journal->stable_index(), round * 7);
  }
  expect_sound();
}

TEST_F(JournalCrashTest, WhatWasAppliedIsKnownExactlyAfterAKill) {
  open();
  std::set<std::uint64_t> expected;
  auto chance = make_seeded_random(3);
  for (int round = 0; round < 40; ++round) {
    for (auto count = chance->below(40); count > 0; --count) {
      append(1, false);
      expected.insert(journal->appended_index());
    }
    for (auto count = chance->below(40); count > 0 && !expected.empty(); --count) {
      auto chosen = std::next(expected.begin(), static_cast<long>(chance->below(expected.size())));
      must(journal->applied(*chosen));
      expected.erase(chosen);
    }
    kill();
    ASSERT_EQ(indexes(must(journal->unapplied())),
              std::vector<std::uint64_t>(expected.begin(), expected.end()));
    if (!expected.empty()) EXPECT_EQ(journal->applied_index(), *expected.begin() - 1);
  }
}

TEST_F(JournalCrashTest, APowerLossKeepsWhatIsStableAndForgetsWhatWasAppliedSince) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    JournalWorld world;
    world.open();
    std::uint64_t stable = 0;
    for (std::uint64_t round = 0; round < 3; ++round) {
      auto checkpoint = world.journal->applied_index();
      must(world.journal->maintain());
      world.append(seed % 30, true);
      must(world.journal->sync());
      stable = world.journal->stable_index();
      world.append(1 + seed % 11, true);
      world.crash(seed * 10 + round);
      world.open();
      auto last = world.journal->appended_index();
      ASSERT_GE(last, stable) << "seed " << seed;
      ASSERT_EQ(world.expect_all(), last) << "seed " << seed;
      ASSERT_GE(world.journal->applied_index(), checkpoint);
      auto redo = indexes(must(world.journal->unapplied()));
      ASSERT_EQ(redo.size(), last - world.journal->applied_index());
      for (auto index : redo) must(world.journal->applied(index));
      world.expect_sound();
    }
  }
}

/// The disk fails for good, so that it cannot be told of it either; the process is killed, and the disk is
/// well again. What the page cache shows of the log then is not what the disk has.
TEST_F(JournalCrashTest, WhatAFailedSyncDroppedIsSafeOnceTheLogSaysSo) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    JournalWorld world;
    world.options.segment_bytes = 1 << 20;
    world.open();
    world.append(5);
    must(world.journal->sync());
    world.append(50);
    world.disk.fail_nth(1, EIO, true);
    EXPECT_TRUE(world.journal->sync().failed_with(EIO));
    EXPECT_TRUE(world.try_append().failed_with(EIO));
    world.kill();
    EXPECT_EQ(world.expect_all(), 55u);
    EXPECT_EQ(world.journal->stable_index(), 55u);
    world.crash(seed);
    world.open();
    ASSERT_EQ(world.expect_all(), 55u) << "seed " << seed;
    world.expect_sound();
  }
}

TEST_F(JournalCrashTest, MoreThanFitsInFlightCanBeRedoneAfterAPowerLoss) {
  options.segment_bytes = 1 << 20;
  open();
  append(3000, true);
  must(journal->sync());
  crash(1);
  open();
  auto redo = must(journal->unapplied());
  ASSERT_EQ(redo.size(), 3000u);
  EXPECT_TRUE(try_append().failed_with(ENOBUFS));
  EXPECT_TRUE(journal->applied(2000).failed_with(ENOBUFS));
  for (const Record& record : redo) must(journal->applied(record.index));
  append(1);
}

/// `zeros`: room that was behind the records.
void expect_torn_tails_are_cut(JournalWorld& first, std::size_t zeros) {
  first.open();
  first.append(3);
  first.end_process();
  const std::string name = JournalWorld::segment(1), whole = first.read_file(name);
  std::vector<std::size_t> ends;  // of each record
  for (std::size_t n = 0, at = 128; n < 3; ++n) {
    std::uint32_t body;
    std::memcpy(&body, whole.data() + at + 4, 4);
    ends.push_back(at += 64 + body);
  }
  ASSERT_EQ(ends.back(), whole.size());
  for (std::size_t size = 128; size <= whole.size(); ++size) {
    JournalWorld world;
    world.open();
    world.end_process();
    const auto torn = whole.substr(0, size) + std::string(zeros, 0);
    world.write_file(name, torn);
    world.open();
    const auto is_there = [&](std::size_t end) { return torn.substr(0, end) == whole.substr(0, end); };
    const auto complete = static_cast<std::uint64_t>(std::ranges::count_if(ends, is_there));
    ASSERT_EQ(world.expect_all(), complete) << "size " << size;
    world.append(2, false);
    ASSERT_EQ(world.expect_all(), complete + 2);
  }
}

TEST_F(JournalCrashTest, ATornTailIsCutAtEveryByte) {
  expect_torn_tails_are_cut(*this, 0);
}

TEST_F(JournalCrashTest, ATornTailInFrontOfZerosIsCutAtEveryByte) {
  expect_torn_tails_are_cut(*this, 1);
  JournalWorld other;
  expect_torn_tails_are_cut(other, 300);
}

/// Damage in a segment must be reported, unless it looks like a record that was being written.
void expect_noticed(JournalWorld& world, const std::string& name, std::uint64_t records, std::size_t bit) {
  auto check = verify_journal_directory(world.disks, JournalWorld::kPath);
  ASSERT_TRUE(check) << "bit " << bit << ": " << check.error().message();
  EXPECT_LE(check->damage.size(), 1u);
  EXPECT_TRUE(!check->damage.empty() || check->last_index == records - 1) << "bit " << bit;
  if (bit % 8 != bit / 8 % 8) return;  // opening takes ten times as long: one bit of each byte
  auto opened = world.try_open();
  if (opened) {
    EXPECT_TRUE(check->damage.empty()) << "bit " << bit << ": " << check->damage[0].what;
    EXPECT_LT(world.expect_all(), records) << "bit " << bit << " of " << name << " went unnoticed";
    EXPECT_EQ(world.journal->appended_index(), records - 1) << "only the last record can be torn";
  } else {
    EXPECT_TRUE(opened.error().is(EUCLEAN)) << opened.error().message();
    EXPECT_THAT(opened.error().message(), HasSubstr(name));
    EXPECT_EQ(check->damage.size(), 1u) << "bit " << bit;
  }
}

TEST_F(JournalCrashTest, EveryFlippedBitIsNoticed) {
  open();
  append(3);
  end_process();
  remove_file("applied");  // it also knows how long the log was; not here
  const std::string name = segment(1), records = read_file(name), whole = records + std::string(200, 0);
  for (std::size_t bit = 0; bit < records.size() * 8; ++bit) {
    std::string bad = whole;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    write_file(name, bad);
    ASSERT_NO_FATAL_FAILURE(expect_noticed(*this, name, 3, bit));
    end_process();
    for (const std::string& file : files()) remove_file(file);
    auto gone = disk.unlink(Disk::kNoDir, path("applied"));
  }
}

TEST_F(JournalCrashTest, TheLogMayNotEndBeforeWhatIsKnownToHaveBeenThere) {
  open();
  append(3);
  end_process();
  const std::string whole = read_file(segment(1));
  write_file(segment(1), whole.substr(0, whole.size() - 1));
  auto opened = try_open();  // the file `applied` says that there was a third
  ASSERT_TRUE(opened.failed_with(EUCLEAN));
  EXPECT_THAT(opened.error().message(), HasSubstr("record 3 was there"));
  end_process();
  write_file(segment(1), whole);
  open();
  must(journal->set_cursor("follower", 3));
  crash(5);
  write_file(segment(1), whole.substr(0, whole.size() - 1));
  EXPECT_TRUE(try_open().failed_with(EUCLEAN));
  end_process();
  remove_file(segment(1));
  opened = try_open();
  ASSERT_TRUE(opened.failed_with(EUCLEAN));
  EXPECT_THAT(opened.error().message(), HasSubstr("missing"));
}

TEST_F(JournalCrashTest, AMissingSegmentIsDamage) {
  open();
  append(60);
  journal.reset();
  ASSERT_GT(files().size(), 3u);
  remove_file(files()[1]);
  auto opened = try_open();
  ASSERT_TRUE(opened.failed_with(EUCLEAN));
  EXPECT_THAT(opened.error().message(), HasSubstr("but the next segment"));
  EXPECT_EQ(must(verify_journal_directory(disks, kPath)).damage.size(), 1u);
}

TEST_F(JournalCrashTest, ALostDatabaseIsMadeAgainAndConsumersAreTold) {
  open();
  append(60);
  must(journal->sync());
  must(journal->set_cursor("east", 60));
  must(journal->set_cursor("name with space and %", 3));
  must(journal->maintain());
  append(10);
  end_process();
  for (bool garbage : {false, true}) {
    SCOPED_TRACE(garbage);
    drop_database();
    if (garbage) write_file("index.db", std::string(5000, 'x'));
    open();
    EXPECT_EQ(expect_all(), 70u);
    expect_sound();
    auto cursors = must(journal->cursors());
    ASSERT_EQ(cursors.size(), 2u);
    for (const Cursor& cursor : cursors) {
      EXPECT_TRUE(cursor.must_rescan) << cursor.name;
      EXPECT_EQ(cursor.index, 0u);
    }
    EXPECT_EQ(cursors[1].name, "name with space and %");
    end_process();
  }
  open();
  must(journal->set_cursor("east", 70));
  EXPECT_FALSE(must(journal->cursors())[0].must_rescan);
}

/// What a process does with its log. It goes on after errors, as a brick would.
void work(JournalWorld& world) {
  if (!world.try_open()) return;
  std::uint64_t late = 0;
  for (int round = 0; round < 4; ++round) {
    for (int n = 0; n < 6; ++n) {
      auto index = world.try_append();
      if (index && n == 3) late = *index;
      if (index && n != 3) static_cast<void>(world.journal->applied(*index));
    }
    static_cast<void>(world.journal->sync());
    if (round % 2 == 0) static_cast<void>(world.journal->applied(late));
    static_cast<void>(world.journal->set_cursor("follower", world.journal->stable_index()));
    static_cast<void>(world.journal->maintain(round % 2 == 0));
  }
}

struct Reached {
  std::uint64_t appended = 0, stable = 0, cursor = 0;
};

Reached reached(JournalWorld& world) {
  Reached r;
  if (!world.journal) return r;
  r.appended = world.journal->appended_index();
  r.stable = world.journal->stable_index();
  world.disk.heal();
  auto cursors = world.journal->cursors();
  if (cursors && !cursors->empty()) r.cursor = cursors->front().index;
  return r;
}

/// Every `step`-th of them, from the `first`.
void fail_each_call(int code, bool sticky, bool power_loss, std::uint64_t first, std::uint64_t step) {
  for (std::uint64_t n = first;; n += step) {
    SCOPED_TRACE(fmt::format("call {} fails with {}", n, code));
    JournalWorld world;
    world.open();
    world.append(8);
    world.end_process();
    world.disk.fail_nth(n, code, sticky);
    work(world);
    const bool fired = world.disk.fault_fired();
    const Reached before = reached(world);
    if (power_loss) {
      world.crash(n);
    } else {
      world.end_process();
    }
    auto opened = world.try_open();
    ASSERT_TRUE(opened) << opened.error().message();
    auto last = world.expect_all();
    ASSERT_EQ(last, world.journal->appended_index());
    ASSERT_GE(last, power_loss ? before.stable : before.appended);
    ASSERT_GE(last, before.cursor);
    world.expect_sound();
    auto cursors = must(world.journal->cursors());
    // A failed commit may have happened.
    if (before.cursor > 0) ASSERT_GE(cursors.at(0).index, before.cursor);
    for (const Cursor& cursor : cursors) ASSERT_LE(cursor.index, last);
    for (const Cursor& cursor : cursors) ASSERT_TRUE(!cursor.must_rescan || cursor.index == 0);
    for (const Record& record : must(world.journal->unapplied())) must(world.journal->applied(record.index));
    world.append(3);
    must(world.journal->maintain(true));
    if (testing::Test::HasFailure()) return;
    if (!fired) {
      EXPECT_GT(n, 50u);
      return;
    }
  }
}

// Odd calls here and even ones there: both for all would take too long for a fast test.
TEST_F(JournalCrashTest, AnyDiskCallMayFailOnceBeforeAKill) {
  fail_each_call(EIO, false, false, 1, 2);
}
TEST_F(JournalCrashTest, AnyDiskCallMayFailOnceBeforeAPowerLoss) {
  fail_each_call(EIO, false, true, 2, 2);
}
TEST_F(JournalCrashTest, TheDiskMayFailForEverBeforeAKill) {
  fail_each_call(EIO, true, false, 1, 5);
}
TEST_F(JournalCrashTest, TheDiskMayFailForEverBeforeAPowerLoss) {
  fail_each_call(EIO, true, true, 3, 5);
}
TEST_F(JournalCrashTest, TheDiskMayBeFullOnceBeforeAKill) {
  fail_each_call(ENOSPC, false, false, 2, 5);
}

SimDisk* dying_disk = nullptr;
bool crash_point_fired = false;

class JournalCrashPoint : public testing::TestWithParam<std::tuple<const char*, bool>> {};

TEST_P(JournalCrashPoint, LeavesASoundLog) {
  auto [name, power_loss] = GetParam();
  for (unsigned passage = 1; passage <= 3; ++passage) {
    JournalWorld world;
    world.options.keep_sealed = 0;
    world.options.segment_bytes = 500;
    world.open();
    world.append(8);
    dying_disk = &world.disk;
    crash_point_fired = false;
    arm_crash_point(name, passage, [] {
      crash_point_fired = true;
      dying_disk->freeze();
    });
    work(world);
    arm_crash_point("", 0, nullptr);
    ASSERT_TRUE(crash_point_fired) << name << " passage " << passage;
    const auto stable = world.journal ? world.journal->stable_index() : 0;
    if (power_loss) {
      world.crash(passage);
    } else {
      world.end_process();
    }
    world.open();
    auto last = world.expect_all();
    EXPECT_EQ(last, world.journal->appended_index());
    EXPECT_GE(last, power_loss ? stable : 8u);
    world.expect_sound();
    for (const std::string& file : world.files()) EXPECT_THAT(file, Not(HasSubstr(".tmp")));
    for (const Record& record : must(world.journal->unapplied())) must(world.journal->applied(record.index));
    world.append(5);
    must(world.journal->maintain(true));
    world.expect_sound();
  }
}

INSTANTIATE_TEST_SUITE_P(All, JournalCrashPoint,
                         testing::Combine(testing::Values("changelog/before-append", "changelog/after-append",
                                                          "changelog/before-seal", "changelog/after-seal",
                                                          "changelog/before-compress-rename",
                                                          "changelog/after-compress-rename",
                                                          "changelog/retention-after-unlink"),
                                          testing::Bool()));

}  // namespace
}  // namespace polder
