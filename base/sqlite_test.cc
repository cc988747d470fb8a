// SPDX-License-Identifier: GPL-3.0-or-later
// Database over the kernel's Disk. What happens at a crash is tested with SimDisk (tests/support).
#include "base/sqlite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

namespace polder {
namespace {

using Values = std::vector<Database::Value>;

class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/var/tmp/polder-sqlite-test.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/state.db";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Database opened(const std::string& schema = "CREATE TABLE IF NOT EXISTS t(k INTEGER PRIMARY KEY, v)") {
    auto database = Database::open(*disk_, path_);
    EXPECT_TRUE(database) << database.error().message();
    EXPECT_TRUE(database->script(schema));
    return *std::move(database);
  }
  static std::vector<std::string> texts(Database& database, std::string_view sql,
                                        const Values& arguments = {}) {
    std::vector<std::string> out;
    auto done = database.query(sql, arguments, [&](const Database::Row& row) {
      out.push_back(row.is_null(0) ? "NULL" : row.text(0));
      return true;
    });
    EXPECT_TRUE(done) << done.error().message();
    return out;
  }

  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  std::string folder_;
  std::string path_;
};

TEST_F(DatabaseTest, ValuesRoundTrip) {
  auto database = opened();
  std::string bytes("a\0b\xff\0", 5);
  EXPECT_EQ(
      database.execute("INSERT INTO t VALUES(?,?),(?,?),(?,?)", {1L, bytes, 2L, nullptr, 3L, std::string()})
          .value(),
      3);
  EXPECT_THAT(texts(database, "SELECT v FROM t ORDER BY k"), testing::ElementsAre(bytes, "NULL", ""));
  EXPECT_THAT(texts(database, "SELECT k FROM t WHERE v=?", {bytes}), testing::ElementsAre("1"));
  std::int64_t least = 0;
  ASSERT_TRUE(database.execute("INSERT INTO t VALUES(4,?)", {std::numeric_limits<std::int64_t>::min()}));
  ASSERT_TRUE(database.query("SELECT v FROM t WHERE k=4", {}, [&](const Database::Row& row) {
    least = row.integer(0);
    return true;
  }));
  EXPECT_EQ(least, std::numeric_limits<std::int64_t>::min());
}

TEST_F(DatabaseTest, AnotherConnectionReadsWhatWasStored) {
  {
    auto database = opened();
    ASSERT_TRUE(database.execute("INSERT INTO t VALUES(1,'kept')"));
  }
  auto database = opened();
  EXPECT_THAT(texts(database, "SELECT v FROM t"), testing::ElementsAre("kept"));
  EXPECT_FALSE(std::filesystem::exists(path_ + "-shm"));
}

TEST_F(DatabaseTest, OnlyOneOwner) {
  auto database = opened();
  auto second = Database::open(*disk_, path_);
  ASSERT_TRUE(second.failed_with(EWOULDBLOCK));
  EXPECT_THAT(second.error().message(), testing::HasSubstr(path_));
}

TEST_F(DatabaseTest, ChangesAreCountedPerStatement) {
  auto database = opened();
  EXPECT_EQ(database.execute("INSERT INTO t VALUES(1,1),(2,2)").value(), 2);
  EXPECT_EQ(database.execute("CREATE INDEX i ON t(v)").value(), 0);
  EXPECT_EQ(database.execute("UPDATE t SET v=9 WHERE k>?", {7L}).value(), 0);
  EXPECT_EQ(database.execute("DELETE FROM t").value(), 2);
}

TEST_F(DatabaseTest, ARowsCallbackMayUseTheSameStatement) {
  auto database = opened();
  ASSERT_TRUE(database.execute("INSERT INTO t VALUES(1,2),(2,3),(3,NULL)"));
  constexpr std::string_view kNext = "SELECT v FROM t WHERE k>=? ORDER BY k";
  std::vector<std::string> seen;
  ASSERT_TRUE(database.query(kNext, {1L}, [&](const Database::Row& row) {
    seen.push_back(row.text(0) + ":" + texts(database, kNext, {3L}).front());
    return seen.size() < 2;
  }));
  EXPECT_THAT(seen, testing::ElementsAre("2:NULL", "3:NULL"));
  EXPECT_EQ(texts(database, kNext, {1L}).size(), 3U);
}

TEST_F(DatabaseTest, AFailedBodyLeavesNothing) {
  auto database = opened();
  auto result = database.transaction([&]() -> Result<void> {
    TRY(database.execute("INSERT INTO t VALUES(1,'x')"));
    return Error(ESTALE).with("second thoughts");
  });
  EXPECT_TRUE(result.failed_with(ESTALE));
  EXPECT_TRUE(texts(database, "SELECT k FROM t").empty());
  ASSERT_TRUE(database.transaction([&]() -> Result<void> {
    TRY(database.execute("INSERT INTO t VALUES(1,'x')"));
    return {};
  }));
  EXPECT_EQ(texts(database, "SELECT k FROM t").size(), 1U);
}

TEST_F(DatabaseTest, MistakesAreNamed) {
  auto database = opened();
  ASSERT_TRUE(database.execute("INSERT INTO t VALUES(1,1)"));
  EXPECT_TRUE(database.execute("INSERT INTO t VALUES(1,1)").failed_with(EEXIST));
  auto wrong = database.execute("SELECT x FROM nowhere");
  ASSERT_TRUE(wrong.failed_with(EINVAL));
  EXPECT_THAT(wrong.error().message(),
              testing::AllOf(testing::HasSubstr("no such table: nowhere"), testing::HasSubstr(path_)));
  EXPECT_TRUE(database.execute("SELECT ?", {}).failed_with(EINVAL));
  EXPECT_TRUE(database.execute("SELECT 1; SELECT 2").failed_with(EINVAL));
  EXPECT_TRUE(database.execute(" ").failed_with(EINVAL));
  EXPECT_TRUE(database.script("CREATE TABLE u(x); nonsense").failed_with(EINVAL));
  auto nowhere = Database::open(*disk_, folder_ + "/absent/state.db");
  EXPECT_TRUE(nowhere.failed_with(ENOENT)) << nowhere.error().message();
}

TEST_F(DatabaseTest, AFileThatIsNoDatabase) {
  std::ofstream(path_) << std::string(8192, 'x');
  auto database = Database::open(*disk_, path_);
  ASSERT_TRUE(database.failed_with(EUCLEAN)) << database.error().message();
  EXPECT_THAT(database.error().message(), testing::HasSubstr(path_));
}

TEST_F(DatabaseTest, ADamagedPageIsReported) {
  {
    auto database = opened();
    for (std::int64_t i = 0; i < 200; ++i)
      ASSERT_TRUE(database.execute("INSERT INTO t VALUES(?,?)", {i, std::string(500, 'v')}));
  }
  auto size = std::filesystem::file_size(path_);
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);
  file << std::string(size - 4096, '\xee');
  file.close();
  auto database = opened("SELECT 1");
  EXPECT_TRUE(database.query("SELECT v FROM t", {}, [](const auto&) { return true; }).failed_with(EUCLEAN));
}

TEST_F(DatabaseTest, LargeSortsNeedNoTemporaryFile) {
  auto database = opened();
  ASSERT_TRUE(database.transaction([&]() -> Result<void> {
    for (std::int64_t i = 0; i < 3000; ++i) {
      TRY(database.execute("INSERT INTO t VALUES(?,?)",
                           {i, std::string(1000, static_cast<char>('a' + i % 20))}));
    }
    return {};
  }));
  EXPECT_EQ(texts(database, "SELECT v FROM t ORDER BY v DESC, k").size(), 3000U);
  EXPECT_EQ(database.execute("UPDATE t SET v = v || 'x' WHERE k >= 0").value(), 3000);
  EXPECT_TRUE(database.execute("VACUUM"));
}

}  // namespace
}  // namespace polder
