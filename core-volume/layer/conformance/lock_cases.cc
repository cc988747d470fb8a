// SPDX-License-Identifier: GPL-3.0-or-later
// Conformance: locks, without waiting (the locks layer's own tests wait, on virtual time).
#include "core-volume/layer/conformance/conformance.h"

namespace polder {

namespace {

using Type = FileLock::Type;
using Kind = FileLock::Kind;

FileLock posix(Type type, std::uint64_t start, std::uint64_t end, std::uint64_t owner = 1) {
  return {Kind::kPosix, type, start, end, owner, static_cast<std::uint32_t>(1000 + owner)};
}
FileLock flock_of(Type type, std::uint64_t owner = 1) {
  return {Kind::kFlock, type, 0, UINT64_MAX, owner, 1};
}

}  // namespace

TEST_P(Conformance, LockWriteLocksExcludeEverybodyElse) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  must(c.set_lock(file, posix(Type::kWrite, 10, 19)));
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kRead, 19, 30, 2))), EAGAIN);
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kWrite, 0, 10, 2))), EAGAIN);
  must(c.set_lock(file, posix(Type::kWrite, 0, 9, 2)));
  must(c.set_lock(file, posix(Type::kWrite, 20, UINT64_MAX, 2)));
}

TEST_P(Conformance, LockReadLocksShare) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  must(c.set_lock(file, posix(Type::kRead, 0, 100, 1)));
  must(c.set_lock(file, posix(Type::kRead, 50, 150, 2)));
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kWrite, 120, 130, 1))), EAGAIN);
  must(c.set_lock(file, posix(Type::kWrite, 0, 49, 1)));
}

TEST_P(Conformance, LockTestTellsWhoIsInTheWay) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  must(c.set_lock(file, posix(Type::kWrite, 10, 19)));
  const FileLock held = must(c.test_lock(file, posix(Type::kRead, 0, 100, 2)));
  EXPECT_EQ(held.type, Type::kWrite);
  EXPECT_EQ(held.start, 10u);
  EXPECT_EQ(held.end, 19u);
  EXPECT_EQ(held.pid, 1001u);
  EXPECT_EQ(must(c.test_lock(file, posix(Type::kRead, 20, 100, 2))).type, Type::kUnlock);
  EXPECT_EQ(must(c.test_lock(file, posix(Type::kWrite, 0, 100, 1))).type, Type::kUnlock) << "its own";
}

TEST_P(Conformance, LockUnlockSplits) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  must(c.set_lock(file, posix(Type::kWrite, 0, 99)));
  must(c.set_lock(file, posix(Type::kUnlock, 40, 59)));
  must(c.set_lock(file, posix(Type::kWrite, 40, 59, 2)));
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kRead, 39, 39, 2))), EAGAIN);
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kRead, 60, 60, 2))), EAGAIN);
}

TEST_P(Conformance, LockDowngradeInTheMiddle) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  must(c.set_lock(file, posix(Type::kWrite, 0, 99)));
  must(c.set_lock(file, posix(Type::kRead, 40, 59)));
  must(c.set_lock(file, posix(Type::kRead, 40, 59, 2)));
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kRead, 39, 40, 2))), EAGAIN);
}

TEST_P(Conformance, LockOwnersOfDifferentSessionsDiffer) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  Client other(*stack, 8);
  must(c.set_lock(file, posix(Type::kWrite, 0, 0, 1)));
  EXPECT_EQ(code_of(other.set_lock(file, posix(Type::kWrite, 0, 0, 1))), EAGAIN);
}

TEST_P(Conformance, LockFlocksAndRangesDoNotMeet) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  must(c.set_lock(file, posix(Type::kWrite, 0, UINT64_MAX, 1)));
  must(c.set_lock(file, flock_of(Type::kWrite, 2)));
  EXPECT_EQ(code_of(c.set_lock(file, flock_of(Type::kRead, 3))), EAGAIN);
  must(c.set_lock(file, flock_of(Type::kUnlock, 2)));
  must(c.set_lock(file, flock_of(Type::kRead, 3)));
  must(c.set_lock(file, flock_of(Type::kRead, 4)));
}

TEST_P(Conformance, LockEndOfSessionDropsItsLocks) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  Client other(*stack, 8);
  must(c.set_lock(file, posix(Type::kWrite, 0, 10, 1)));
  must(c.set_lock(file, flock_of(Type::kWrite, 1)));
  must(other.set_lock(file, posix(Type::kWrite, 20, 30, 1)));
  must(c.end_session());
  must(other.set_lock(file, posix(Type::kWrite, 0, 10, 2)));
  must(other.set_lock(file, flock_of(Type::kWrite, 2)));
  EXPECT_EQ(code_of(other.set_lock(file, posix(Type::kWrite, 25, 25, 2))), EAGAIN);
}

TEST_P(Conformance, LockErrors) {
  if (!features().locks) GTEST_SKIP() << "the target has no locks";
  const Gfid file = c.file(root, "f");
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kRead, 10, 9))), EINVAL);
  EXPECT_EQ(code_of(c.test_lock(file, posix(Type::kUnlock, 0, 9))), EINVAL);
  EXPECT_EQ(code_of(c.set_lock(file, posix(static_cast<Type>(9), 0, 9))), EINVAL);
  must(c.unlink(root, "f"));
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kRead, 0, 9))), ESTALE);
  must(c.set_lock(file, posix(Type::kUnlock, 0, 9)));
}

}  // namespace polder
