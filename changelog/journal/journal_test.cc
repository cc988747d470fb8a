// SPDX-License-Identifier: GPL-3.0-or-later
// Append, sync, read, reopen; errors of the disk.
#include <thread>

#include "changelog/journal/journal_test_support.h"

namespace polder {
namespace {

using testing::HasSubstr;

TEST_F(JournalTest, IsEmptyAtFirst) {
  open();
  EXPECT_EQ(journal->first_index(), 1u);
  EXPECT_EQ(journal->appended_index(), 0u);
  EXPECT_EQ(journal->stable_index(), 0u);
  EXPECT_EQ(journal->applied_index(), 0u);
  EXPECT_TRUE(must(journal->unapplied()).empty());
  EXPECT_EQ(expect_all(), 0u);
  reopen();
  EXPECT_EQ(journal->appended_index(), 0u);
  EXPECT_EQ(files().size(), 1u);
}

TEST_F(JournalTest, AppendFillsInWhoAndWhen) {
  open();
  Record record = sample(3);
  EXPECT_EQ(must(journal->append(record)), 1u);
  EXPECT_EQ(record.index, 1u);
  EXPECT_EQ(record.time_ns, record.hlc.ns);
  Record later = sample(3);
  later.time_ns = 42;
  must(journal->append(later));
  EXPECT_GT(later.hlc, record.hlc);
  EXPECT_EQ(later.time_ns, 42u);
}

TEST_F(JournalTest, SurvivesReopeningOverManySegments) {
  open();
  for (std::uint64_t total = 0; total < 200; total += 20) {
    append(20);
    reopen();
    EXPECT_EQ(journal->appended_index(), total + 20);
    EXPECT_EQ(journal->stable_index(), total + 20);
    EXPECT_EQ(journal->applied_index(), total + 20);
  }
  EXPECT_EQ(expect_all(), 200u);
  EXPECT_GT(files().size(), 10u);
  expect_sound();
}

TEST_F(JournalTest, TheClockNeverFallsBehindTheLog) {
  open();
  append(5);
  Hlc last = hlc.last();
  end_process();
  clock.step_wall(-std::chrono::hours(1));
  HlcClock fresh(clock);
  Seams slow{clock, *random, disk, transport, *workers, fresh};
  journal = must(Journal::open(slow, kPath, identity, options));
  Record record = sample(6);
  must(journal->append(record));
  EXPECT_GT(record.hlc, last);
  journal.reset();
}

/// A reader would take it for damage, and the log could not be opened any more.
TEST_F(JournalTest, AStampThatDoesNotRiseStopsTheLog) {
  std::optional<HlcClock> forgetful(std::in_place, clock);
  Seams wrong{clock, *random, disks, transport, *workers, *forgetful};
  journal = must(Journal::open(wrong, kPath, identity, options));
  append(2);
  clock.step_wall(-std::chrono::hours(1));
  forgetful.emplace(clock);
  EXPECT_TRUE(try_append().failed_with(EUCLEAN));
  EXPECT_TRUE(try_append().failed_with(EIO));
  kill();
  EXPECT_EQ(expect_all(), 2u);
  expect_sound();
}

TEST_F(JournalTest, ConsumersSeeOnlyWhatIsStable) {
  open();
  append(2);
  auto consumer = must(journal->read_from(1));
  auto inspector = must(journal->read_from(1, true));
  EXPECT_FALSE(must(consumer->next()));
  EXPECT_EQ(expect_samples(*inspector, 1), 3u);
  must(journal->sync());
  EXPECT_EQ(journal->stable_index(), 2u);
  EXPECT_EQ(expect_samples(*consumer, 1), 3u);
  append(1);
  EXPECT_FALSE(must(consumer->next()));
  EXPECT_EQ(expect_samples(*inspector, 3), 4u);
}

TEST_F(JournalTest, ReadersBeginAnywhere) {
  options.keep_sealed = 100;
  open();
  append(100);
  must(journal->maintain(true));
  append(10);
  for (std::uint64_t from = 1; from <= 111; ++from)
    EXPECT_EQ(expect_samples(*must(journal->read_from(from, true)), from), 111u);
  EXPECT_FALSE(must(must(journal->read_from(500, true))->next()));
}

TEST_F(JournalTest, ASeekInALargeSegmentFindsItsRecord) {
  options.segment_bytes = 64 << 20;
  open();
  append(5000);
  EXPECT_EQ(expect_samples(*must(journal->read_from(4321, true)), 4321), 5001u);
  reopen();
  EXPECT_EQ(expect_samples(*must(journal->read_from(2222, true)), 2222), 5001u);
}

TEST_F(JournalTest, AReaderOutlivesTheJournal) {
  open();
  append(50);
  must(journal->sync());
  auto reader = must(journal->read_from(1));
  must(reader->next());
  journal.reset();
  EXPECT_EQ(expect_samples(*reader, 2), 51u);
  reader.reset();
}

TEST_F(JournalTest, SyncTellsTheListenerWhatIsStable) {
  open();
  std::vector<std::uint64_t> told;
  journal->on_stable([&](std::uint64_t stable) { told.push_back(stable); });
  append(2);
  must(journal->sync());
  auto calls = disk.calls();
  must(journal->sync());
  EXPECT_EQ(disk.calls(), calls) << "nothing new to sync";
  append(1);
  must(journal->sync());
  EXPECT_EQ(told, (std::vector<std::uint64_t>{2, 3}));
}

TEST_F(JournalTest, SyncSealsAheadSoThatAppendNeedNotSync) {
  options.segment_bytes = 8000;
  open();
  std::uint64_t appended = 0;
  for (; files().size() == 1; ++appended) {
    append(1);
    must(journal->sync());
  }
  EXPECT_EQ(files().size(), 2U);
  journal.reset();
  EXPECT_GE(disk.stat(Disk::kNoDir, path(segment(1)))->st_size, 7000);
  EXPECT_LT(disk.stat(Disk::kNoDir, path(segment(1)))->st_size, 8000);
  open();
  EXPECT_EQ(expect_all(), appended);
  expect_sound();
}

TEST_F(JournalTest, WhoSyncsOftenHasRoomOfZerosBehindTheRecords) {
  options.segment_bytes = 8000;
  open();
  const auto size = [&](std::uint64_t first) {
    return disk.stat(Disk::kNoDir, path(segment(first)))->st_size;
  };
  for (std::uint64_t appended = 1; appended <= 20; ++appended) {
    append(1);
    must(journal->sync());
    EXPECT_EQ(size(1), 8000) << "the file does not grow, so syncing it is cheap";
    const auto check = must(verify_journal_directory(disks, kPath));
    EXPECT_TRUE(check.damage.empty()) << check.damage[0].what;
    EXPECT_EQ(check.last_index, appended);
  }
  kill();
  EXPECT_EQ(expect_all(), 20U);
  EXPECT_LT(size(1), 5000);
  std::uint64_t appended = 20;
  for (; files().size() == 1; ++appended) {
    append(1);
    must(journal->sync());
  }
  EXPECT_LT(size(1), 8000) << "what is sealed ends with its last record";
  append(1);
  must(journal->sync());
  journal.reset();
  EXPECT_LT(size(appended + 1), 500) << "so does what is closed";
  open();
  EXPECT_EQ(expect_all(), appended + 1);
  expect_sound();
}

TEST_F(JournalTest, ZerosAreNoRoomInFrontOfARecord) {
  open();
  append(3);
  end_process();
  const std::string name = segment(1), whole = read_file(name);
  write_file(name, whole + std::string(100, 0) + whole.substr(128));
  auto opened = try_open();
  ASSERT_TRUE(opened.failed_with(EUCLEAN));
  EXPECT_THAT(opened.error().message(), testing::HasSubstr("zeros instead of record 4"));
  EXPECT_EQ(must(verify_journal_directory(disks, kPath)).damage.size(), 1U);
}

TEST_F(JournalTest, ManyThreadsAppendSyncAndRead) {
  options.segment_bytes = 20'000;
  open();
  constexpr int kThreads = 6, kEach = 150;
  std::atomic<std::uint64_t> told{0};
  journal->on_stable([&](std::uint64_t stable) {
    auto seen = told.load();
    while (seen < stable && !told.compare_exchange_weak(seen, stable)) {
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int n = 0; n < kEach; ++n) {
        Record record = sample(static_cast<std::uint64_t>(n));
        auto index = must(journal->append(record));
        must(journal->applied(index));
        if (n % 5 == t % 5) {
          must(journal->sync());
          EXPECT_GE(journal->stable_index(), index);
        }
      }
    });
  }
  threads.emplace_back([&] {
    for (int n = 0; n < 20; ++n) must(journal->maintain(n % 4 == 0));
  });
  must(journal->set_cursor("reader", 0));
  std::uint64_t next = 1;
  auto reader = must(journal->read_from(1));
  while (next <= kThreads * kEach) {
    auto record = must(reader->next());
    if (!record) {
      must(journal->sync());
      continue;
    }
    ASSERT_EQ(record->index, next++);
    ASSERT_LE(record->index, journal->stable_index());
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(journal->appended_index(), kThreads * kEach);
  EXPECT_EQ(journal->applied_index(), kThreads * kEach);
  EXPECT_EQ(told, kThreads * kEach);
  expect_sound();
}

TEST_F(JournalTest, RefusesTheWrongLog) {
  open();
  append(1);
  auto right = identity;
  identity.lineage = Gfid{{8}};
  EXPECT_TRUE(try_open().failed_with(ESTALE));
  identity = right;
  identity.set = 4;
  EXPECT_TRUE(try_open().failed_with(ESTALE));
  identity = right;
  identity.term = 2;
  open();
  identity.term = 1;
  EXPECT_TRUE(try_open().failed_with(ESTALE));
}

TEST_F(JournalTest, PositionsCarryTheTermOfTheirRecord) {
  open();
  append(3);
  identity.term = 5;
  reopen();
  append(3);
  EXPECT_EQ(journal->position(3), (JournalPosition{identity.lineage, 3, 1, 3}));
  EXPECT_EQ(journal->position(4), (JournalPosition{identity.lineage, 3, 5, 4}));
  EXPECT_EQ(journal->position(0).term, 1u);
  EXPECT_EQ(expect_all(), 6u);
}

TEST_F(JournalTest, HasOneOwner) {
  open();
  auto second = Journal::open(seams, kPath, identity, options);
  ASSERT_TRUE(second.failed_with(EBUSY));
  EXPECT_THAT(second.error().message(), HasSubstr("another process"));
}

TEST_F(JournalTest, InFlightRecordsAreBounded) {
  options.segment_bytes = 1 << 20;
  open();
  append(kMaxInFlight, false);
  EXPECT_TRUE(try_append().failed_with(ENOBUFS));
  must(journal->applied(2));
  EXPECT_TRUE(try_append().failed_with(ENOBUFS));
  must(journal->applied(1));
  EXPECT_EQ(journal->applied_index(), 2u);
  append(2, false);
  EXPECT_TRUE(try_append().failed_with(ENOBUFS));
  EXPECT_TRUE(journal->applied(kMaxInFlight + 3).failed_with(EINVAL));
  EXPECT_TRUE(journal->applied(0).failed_with(EINVAL));
  must(journal->applied(1));  // again
}

TEST_F(JournalTest, AFullDiskLeavesTheLogAsItWas) {
  options.segment_bytes = 1 << 20;
  open();
  append(10);
  disk.set_capacity(1);
  Record large;
  large.kind = RecordKind::kWrite;
  large.data = Buffer::copy_of(std::string(large.length = 100'000, 'x'));
  ASSERT_TRUE(journal->append(large).failed_with(ENOSPC));
  EXPECT_EQ(large.index, 0u);
  EXPECT_EQ(large.hlc, Hlc{});
  EXPECT_EQ(large.time_ns, 0u);
  EXPECT_EQ(journal->appended_index(), 10u);
  disk.set_capacity(0);
  append(10);
  kill();
  EXPECT_EQ(expect_all(), 20u);
  expect_sound();
}

TEST_F(JournalTest, AFullDiskWhenItIsTimeToSealLeavesTheLogAsItWas) {
  open();
  while (must(journal->verify()).segments == 1) append(1);
  while (journal->appended_index() % 20 != 0) append(1);
  disk.set_capacity(1);
  auto sealed = journal->maintain(true);
  EXPECT_FALSE(sealed);
  disk.set_capacity(0);
  append(30);
  kill();
  EXPECT_EQ(expect_all(), journal->appended_index());
  expect_sound();
}

TEST_F(JournalTest, AfterAnIoErrorItRefusesUntilReopened) {
  open();
  append(3);
  disk.fail_nth(1, EIO);
  EXPECT_TRUE(try_append().failed_with(EIO));
  disk.heal();
  auto refused = try_append();
  ASSERT_TRUE(refused.failed_with(EIO));
  EXPECT_THAT(refused.error().message(), HasSubstr("must be reopened"));
  reopen();
  append(3);
  EXPECT_EQ(expect_all(), 6u);
}

TEST_F(JournalTest, AfterAFailedSyncNothingIsBelievedUntilItIsWrittenAgain) {
  open();
  append(2);
  must(journal->sync());
  append(2);
  disk.fail_nth(1, EIO);
  EXPECT_TRUE(journal->sync().failed_with(EIO));
  disk.heal();
  EXPECT_TRUE(journal->sync().failed_with(EIO));
  EXPECT_TRUE(try_append().failed_with(EIO));
  EXPECT_EQ(journal->stable_index(), 2u);
  EXPECT_EQ(expect_all(false), 2u);
  // The kernel takes the pages for clean: only writing them again makes them durable.
  reopen();
  EXPECT_EQ(journal->stable_index(), 4u);
  append(1);
  must(journal->sync());
  crash(1);
  open();
  EXPECT_EQ(expect_all(false), 5u);
  expect_sound();
}

}  // namespace
}  // namespace polder
