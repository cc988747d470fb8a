// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/client_tables.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace polder {
namespace {

using Type = FileLock::Type;

FileLock lock(Type type, std::uint64_t start, std::uint64_t end, std::uint64_t owner = 1) {
  return {.type = type, .start = start, .end = end, .owner = owner};
}

std::string text_of(const HeldLocks& table) {
  std::string text;
  for (const auto& [gfid, held] : table.all())
    text +=
        fmt::format("{}{}:{}-{} ", held.type == Type::kRead ? 'r' : 'w', held.owner, held.start, held.end);
  return text;
}

TEST(HeldLocksTest, KeepsWhatTheServerKeeps) {
  HeldLocks table;
  const auto gfid = Gfid::root();
  table.apply(gfid, lock(Type::kWrite, 0, 99));
  EXPECT_EQ(text_of(table), "w1:0-99 ");
  table.apply(gfid, lock(Type::kRead, 40, 59));  // downgrade in the middle
  EXPECT_EQ(text_of(table), "w1:0-39 r1:40-59 w1:60-99 ");
  table.apply(gfid, lock(Type::kWrite, 40, 59));
  EXPECT_EQ(text_of(table), "w1:0-99 ");
  table.apply(gfid, lock(Type::kUnlock, 10, 19));
  EXPECT_EQ(text_of(table), "w1:0-9 w1:20-99 ");
  table.apply(gfid, lock(Type::kRead, 0, UINT64_MAX, 2));
  EXPECT_EQ(text_of(table), "w1:0-9 w1:20-99 r2:0-18446744073709551615 ");
  table.apply(gfid, lock(Type::kUnlock, 0, UINT64_MAX, 1));
  table.apply(gfid, lock(Type::kUnlock, 0, UINT64_MAX, 2));
  EXPECT_TRUE(table.empty());
}

TEST(HeldLocksTest, FlockAndPosixLocksOfOneOwnerAreApart) {
  HeldLocks table;
  table.apply(Gfid::root(), lock(Type::kWrite, 0, 9));
  auto flock = lock(Type::kUnlock, 0, UINT64_MAX);
  flock.kind = FileLock::Kind::kFlock;
  table.apply(Gfid::root(), flock);
  EXPECT_EQ(text_of(table), "w1:0-9 ");
}

TEST(OpenHandlesTest, ReopensWhatIsOpenAndNotElsewhere) {
  OpenHandles table;
  const auto a = table.add(Gfid::root(), O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_APPEND, 10, 1);
  const auto b = table.add(Gfid::root(), O_RDONLY, 11, 1);
  const auto c = table.add(Gfid::root(), O_RDONLY, 12, 2);
  EXPECT_EQ(table.find(a)->open_flags, O_RDWR | O_APPEND);
  EXPECT_EQ(table.to_reopen(2), (std::vector<HandleId>{a, b}));
  table.find(b)->closing = true;
  EXPECT_EQ(table.to_reopen(2), std::vector<HandleId>{a});
  EXPECT_EQ(table.to_reopen(1), std::vector<HandleId>{c});
  table.kill_all();
  EXPECT_TRUE(table.to_reopen(3).empty());
}

}  // namespace
}  // namespace polder
