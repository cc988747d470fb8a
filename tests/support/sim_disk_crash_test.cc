// SPDX-License-Identifier: GPL-3.0-or-later
// What a power loss leaves: never less than was synced, sometimes more, never what no disk could show. Each
// test runs over many seeds and proves that more than one outcome occurs.
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/sqlite.h"
#include "tests/support/sim_disk.h"
#include "tests/support/sim_tree.h"

namespace polder {
namespace {

constexpr std::uint64_t kSeeds = 200;
constexpr int kCreate = O_RDWR | O_CREAT;

DiskFile opened(SimDisk& disk, const std::string& path, int flags = kCreate) {
  return disk.open(Disk::kNoDir, path, flags, 0600).value();
}
DiskFile root(SimDisk& disk) {
  return opened(disk, "/", O_RDONLY | O_DIRECTORY);
}
void write(SimDisk& disk, const DiskFile& file, std::string_view text, std::uint64_t offset = 0) {
  ASSERT_TRUE(disk.pwrite(file.fd(), as_bytes(text), offset));
}
/// Its bytes and its name.
void sync(SimDisk& disk, const DiskFile& file) {
  ASSERT_TRUE(disk.fdatasync(file.fd()));
  ASSERT_TRUE(disk.fsync(root(disk).fd()));
}
/// "absent" when there is no such file.
std::string content(SimDisk& disk, const std::string& path) {
  auto file = disk.open(Disk::kNoDir, path, O_RDONLY);
  if (!file) return "absent";
  std::string out(1 << 16, '\0');
  out.resize(disk.pread(file->fd(), std::as_writable_bytes(std::span(out)), 0).value());
  return out;
}

TEST(SimDiskCrash, WhatWasSyncedSurvives) {
  std::set<std::string> unsynced;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimDisk disk;
    auto file = opened(disk, "/synced");
    write(disk, file, "synced");
    sync(disk, file);
    write(disk, opened(disk, "/unsynced"), "text");
    auto boot = disk.boot_id().value();
    disk.crash(seed);
    EXPECT_NE(disk.boot_id().value(), boot);
    EXPECT_TRUE(disk.fstat(file.fd()).failed_with(EBADF));
    EXPECT_EQ(content(disk, "/synced"), "synced");
    unsynced.insert(content(disk, "/unsynced"));
  }
  EXPECT_THAT(unsynced, testing::IsSupersetOf({"absent", "", "text"}));
}

TEST(SimDiskCrash, NamesComeBackInTheOrderOfTheirMaking) {
  std::set<std::size_t> counts;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimDisk disk;
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(disk.mkdir(Disk::kNoDir, fmt::format("/{}", i), 0700));
    disk.crash(seed);
    auto entries = disk.list(root(disk).fd()).value();
    for (std::size_t i = 0; i < entries.size(); ++i) EXPECT_EQ(entries[i].name, std::to_string(i));
    counts.insert(entries.size());
  }
  EXPECT_EQ(counts.size(), 6U);
}

TEST(SimDiskCrash, RenameIsAllOrNothing) {
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimDisk disk;
    auto old = opened(disk, "/f");
    write(disk, old, "old");
    sync(disk, old);
    auto fresh = opened(disk, "/f.new");
    write(disk, fresh, "new");
    sync(disk, fresh);
    ASSERT_TRUE(disk.rename(Disk::kNoDir, "/f.new", Disk::kNoDir, "/f"));
    disk.crash(seed);
    outcomes.insert(content(disk, "/f") + "|" + content(disk, "/f.new"));
  }
  EXPECT_THAT(outcomes, testing::ElementsAre("new|absent", "old|new"));
}

TEST(SimDiskCrash, ASyncOfTheFileIsNotOneOfItsName) {
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimDisk disk;
    auto file = opened(disk, "/f");
    ASSERT_TRUE(disk.truncate(file.fd(), 100));
    write(disk, file, "text");
    ASSERT_TRUE(disk.truncate(file.fd(), 4));
    ASSERT_TRUE(disk.chmod(file.fd(), 0640));
    ASSERT_TRUE(disk.fsync(file.fd()));
    disk.crash(seed);
    outcomes.insert(content(disk, "/f"));
    if (auto attributes = disk.stat(Disk::kNoDir, "/f")) {
      EXPECT_EQ(attributes->st_mode & 07777, 0640U);
    }
  }
  EXPECT_THAT(outcomes, testing::ElementsAre("absent", "text"));
}

TEST(SimDiskCrash, EachPageIsOldOrNew) {
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimDisk disk;
    auto file = opened(disk, "/f");
    write(disk, file, std::string(8192, 'o'));
    sync(disk, file);
    write(disk, file, std::string(8192, 'n'));
    disk.crash(seed);
    auto text = content(disk, "/f");
    ASSERT_EQ(text.size(), 8192U);
    for (int page : {0, 4096}) EXPECT_EQ(text.substr(page, 4096), std::string(4096, text[page]));
    outcomes.insert({text[0], text[4096]});
  }
  EXPECT_THAT(outcomes, testing::ElementsAre("nn", "no", "on", "oo"));
}

/// A journal of one's own cannot rely on the file system's: what a later change of names says is done, and
/// the page that announced it is not there; or the other way round.
TEST(SimDiskCrash, PagesOfALogAreLostIndependentlyOfMetadata) {
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimDisk disk;
    auto log = opened(disk, "/log");
    write(disk, log, std::string(8192, '-'));
    sync(disk, log);
    write(disk, log, std::string(4096, '1'));
    ASSERT_TRUE(disk.mkdir(Disk::kNoDir, "/done1", 0700));
    write(disk, log, std::string(4096, '2'), 4096);
    ASSERT_TRUE(disk.mkdir(Disk::kNoDir, "/done2", 0700));
    disk.crash(seed);
    const auto text = content(disk, "/log");
    const auto names = disk.list(root(disk).fd()).value().size() - 1;
    outcomes.insert(fmt::format("{}{} {}", text[0], text[4096], names));
  }
  std::set<std::string> all;
  for (const auto* pages : {"--", "1-", "-2", "12"})
    for (int names = 0; names <= 2; ++names) all.insert(fmt::format("{} {}", pages, names));
  EXPECT_EQ(outcomes, all);
}

TEST(SimDiskCrash, AnAppendedTailMayBeShortOrZeros) {
  bool is_short = false, has_zeros = false, whole = false;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimDisk disk;
    auto file = opened(disk, "/f");
    write(disk, file, "synced");
    sync(disk, file);
    write(disk, file, std::string(10'000, 't'), 6);
    disk.crash(seed);
    auto text = content(disk, "/f");
    EXPECT_TRUE(text.starts_with("synced"));
    is_short |= text.size() < 10'006;
    has_zeros |= text.find('\0') != text.npos;
    whole |= text == "synced" + std::string(10'000, 't');
  }
  EXPECT_TRUE(is_short && has_zeros && whole);
}

TEST(SimDiskCrash, BytesAfterALostTruncationAreLostToo) {
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimDisk disk;
    auto file = opened(disk, "/f");
    write(disk, file, "a long old text");
    sync(disk, file);
    ASSERT_TRUE(disk.truncate(file.fd(), 0));
    write(disk, file, "new");
    disk.crash(seed);
    outcomes.insert(content(disk, "/f"));
  }
  EXPECT_TRUE(outcomes.contains("a long old text") && outcomes.contains("") && outcomes.contains("new"));
  for (const auto& text : outcomes)
    EXPECT_TRUE(text == "a long old text" || text.size() <= 3) << "neither before nor after: " << text;
}

TEST(SimDiskCrash, AFailedSyncIsNotMadeGoodByTheNext) {
  SimDisk disk;
  auto file = opened(disk, "/f");
  sync(disk, file);
  write(disk, file, std::string(4096, 'x'));
  disk.fail_nth(1, EIO);
  EXPECT_TRUE(disk.fsync(file.fd()).failed_with(EIO));
  EXPECT_TRUE(disk.fsync(file.fd()));
  EXPECT_EQ(content(disk, "/f"), std::string(4096, 'x')) << "the page cache still has it";
  disk.crash(1);
  EXPECT_EQ(content(disk, "/f"), std::string(4096, '\0'));
}

TEST(SimDiskCrash, UnnamedFilesAndFrozenProcessesLeaveNothing) {
  SimDisk disk;
  auto unnamed = disk.open(Disk::kNoDir, "/", O_TMPFILE | O_RDWR, 0600).value();
  write(disk, unnamed, "x");
  ASSERT_TRUE(disk.syncfs(unnamed.fd()));
  disk.freeze();
  EXPECT_FALSE(disk.mkdir(Disk::kNoDir, "/late", 0700));
  disk.crash(3);
  EXPECT_TRUE(disk.list(root(disk).fd())->empty());
  EXPECT_EQ(disk.statfs(root(disk).fd())->f_ffree, disk.statfs(root(disk).fd())->f_files - 1);
}

/// Number of names of each inode below an open directory; checks every count of links on the way back.
void count_names(SimDisk& disk, int dir, std::map<std::uint64_t, std::pair<nlink_t, nlink_t>>& counts) {
  for (const auto& entry : disk.list(dir).value()) {
    auto attributes = disk.stat(dir, entry.name).value();
    ASSERT_EQ(attributes.st_ino, entry.inode);
    if (entry.type == DT_DIR) {
      count_names(disk, disk.open(dir, entry.name, O_RDONLY | O_DIRECTORY).value().fd(), counts);
    } else {
      auto& [found, claimed] = counts[entry.inode];
      ++found;
      claimed = attributes.st_nlink;
    }
  }
}

TEST(SimDiskCrash, RandomHistoriesLeaveASoundTree) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SimDisk disk;
    SimChoice choice(seed);
    auto path = [&] {
      std::string name(1, static_cast<char>('a' + choice.below(5)));
      return choice.below(3) == 0 ? fmt::format("/{}/{}", static_cast<char>('a' + choice.below(5)), name)
                                  : "/" + name;
    };
    for (int i = 0; i < 300; ++i) {
      auto from = path(), to = path();
      switch (choice.below(9)) {
        case 0:
          (void)disk.mkdir(Disk::kNoDir, from, 0700);
          break;
        case 1:
          (void)disk.link(Disk::kNoDir, from, Disk::kNoDir, to);
          break;
        case 2:
          (void)disk.unlink(Disk::kNoDir, from, choice.below(2) ? AT_REMOVEDIR : 0);
          break;
        case 3:
          (void)disk.rename(Disk::kNoDir, from, Disk::kNoDir, to, choice.below(3) == 0 ? RENAME_EXCHANGE : 0);
          break;
        default: {
          auto file = disk.open(Disk::kNoDir, from, kCreate, 0600);
          if (!file) break;
          (void)disk.pwrite(file->fd(), as_bytes(to), choice.below(20'000));
          if (choice.below(3) == 0) (void)disk.truncate(file->fd(), choice.below(20'000));
          if (choice.below(8) == 0) (void)disk.fsync(file->fd());
        }
      }
      if (choice.below(100) == 0) disk.crash(choice.next());
    }
    disk.crash(choice.next());
    std::map<std::uint64_t, std::pair<nlink_t, nlink_t>> counts;
    count_names(disk, root(disk).fd(), counts);
    for (auto [inode, links] : counts)
      EXPECT_EQ(links.first, links.second) << "inode " << inode << " seed " << seed;
  }
}

/// The number of rows, after SQLite's own check of the whole file.
std::int64_t rows(Database& database) {
  std::string verdict;
  std::int64_t count = -1;
  EXPECT_TRUE(database.query("PRAGMA integrity_check", {}, [&](const Database::Row& row) {
    verdict += row.text(0);
    return true;
  }));
  EXPECT_EQ(verdict, "ok");
  EXPECT_TRUE(database.query("SELECT count(*) FROM t", {}, [&](const Database::Row& row) {
    count = row.integer(0);
    return true;
  }));
  return count;
}

/// Inserts rows, one a transaction, until the disk fails. The number of those acknowledged.
std::int64_t insert_until_failure(Database& database, std::int64_t start) {
  for (std::int64_t i = start; i < start + 400; ++i) {
    auto done =
        database.execute("INSERT INTO t VALUES(?,?)", {i, std::string(900, static_cast<char>('a' + i % 26))});
    if (!done) return i;
  }
  return start + 400;
}

/// Opens, in spite of a disk that may fail; ends with the schema in place or nothing.
std::optional<Database> try_open(SimDisk& disk) {
  auto database = Database::open(disk, "/state.db");
  if (!database || !database->script("CREATE TABLE IF NOT EXISTS t(k INTEGER PRIMARY KEY, v)")) return {};
  return std::move(*database);
}

void crash_while_writing(std::uint64_t seed, bool power_loss) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  SimDisk disk;
  SimChoice choice(seed);
  std::int64_t acknowledged = 0;
  for (int life = 0; life < 4; ++life) {
    disk.fail_nth(1 + choice.below(life == 0 ? 60 : 900), EIO, true);
    auto database = try_open(disk);
    if (database) acknowledged = insert_until_failure(*database, acknowledged);
    disk.freeze();
    database.reset();
    power_loss ? disk.crash(choice.next()) : disk.kill();
    auto reopened = try_open(disk);
    ASSERT_TRUE(reopened) << "a database must open after every crash";
    std::int64_t found = rows(*reopened);
    // The last one may have been committed although its caller saw an error.
    ASSERT_GE(found, acknowledged);
    ASSERT_LE(found, acknowledged + 1);
    acknowledged = found;
  }
}

TEST(SimDiskSqlite, CommittedTransactionsSurvivePowerLoss) {
  for (std::uint64_t seed = 0; seed < 25; ++seed) {
    crash_while_writing(seed, true);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(SimDiskSqlite, CommittedTransactionsSurviveKill) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    crash_while_writing(seed, false);
    if (testing::Test::HasFatalFailure()) return;
  }
}

/// What a process was told that it failed may be in the log that the next one finds in the page cache. What
/// that one commits behind it is safe.
TEST(SimDiskSqlite, WhatAFailedSyncDroppedIsNotBuiltUpon) {
  for (std::uint64_t n = 1; n < 30; ++n) {
    SCOPED_TRACE(fmt::format("call {} fails, and all after it", n));
    SimDisk disk;
    auto database = try_open(disk);
    ASSERT_TRUE(database);
    EXPECT_EQ(insert_until_failure(*database, 0), 400);
    disk.fail_nth(n, EIO, true);
    const auto acknowledged = insert_until_failure(*database, 400);
    disk.freeze();
    database.reset();
    disk.kill();
    database = try_open(disk);
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->execute("INSERT INTO t VALUES(10000,'x')"));
    const auto there = rows(*database);
    EXPECT_GT(there, acknowledged);
    disk.freeze();
    database.reset();
    disk.crash(n);
    database = try_open(disk);
    ASSERT_TRUE(database);
    EXPECT_EQ(rows(*database), there);
  }
}

TEST(SimDiskSqlite, EveryCallMayFailOnce) {
  constexpr std::int64_t kRows = 6;
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE(fmt::format("call {} fails", n));
    SimDisk disk;
    disk.fail_nth(n, EIO);
    std::set<std::int64_t> acknowledged;
    if (auto database = try_open(disk))
      for (std::int64_t k = 0; k < kRows; ++k)
        if (database->execute("INSERT INTO t VALUES(?,'x')", {k})) acknowledged.insert(k);
    bool fired = disk.fault_fired();
    disk.heal();
    disk.crash(n);
    auto database = try_open(disk);
    ASSERT_TRUE(database);
    std::set<std::int64_t> found;
    ASSERT_TRUE(database->query("SELECT k FROM t", {}, [&](const Database::Row& row) {
      found.insert(row.integer(0));
      return true;
    }));
    EXPECT_TRUE(std::ranges::includes(found, acknowledged));
    EXPECT_LE(found.size(), acknowledged.size() + 1);
    if (!fired) break;
    ASSERT_LT(n, 1000U) << "no end of calls";
  }
}

TEST(SimDiskSqlite, AFullDiskIsNamed) {
  SimDisk disk;
  auto database = try_open(disk);
  ASSERT_TRUE(database);
  disk.set_capacity(64 * 4096);
  auto count = insert_until_failure(*database, 0);
  auto full = database->execute("INSERT INTO t VALUES(-1,?)", {std::string(100'000, 'x')});
  EXPECT_TRUE(full.failed_with(ENOSPC)) << (full ? "stored" : full.error().message());
  EXPECT_EQ(rows(*database), count);
  disk.set_capacity(0);
  EXPECT_TRUE(database->execute("INSERT INTO t VALUES(-1,'fits again')"));
}

}  // namespace
}  // namespace polder
