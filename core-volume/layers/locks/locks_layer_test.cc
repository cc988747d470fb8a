// SPDX-License-Identifier: GPL-3.0-or-later
// Waiting for locks, on virtual time. What locks mean without waiting: conformance/lock_cases.cc.
#include "core-volume/layers/locks/locks_layer.h"

#include "base/concurrency.h"
#include "base/hlc.h"
#include "base/random.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/conformance/sim_stack.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using Type = FileLock::Type;
using Kind = FileLock::Kind;

class LocksStack : public SimStack {
 public:
  LocksStack() : LocksStack(LocksLayer::Options{}) {}
  explicit LocksStack(LocksLayer::Options options)
      : locks(std::make_unique<LocksLayer>(memory_, loop.clock(), options)) {}
  FileOps& ops() override { return *locks; }

 private:
  HlcClock hlc_{loop.clock()};
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  MemoryLayer memory_{hlc_, *random_};

 public:
  std::unique_ptr<LocksLayer> locks;
};

INSTANTIATE_TEST_SUITE_P(Locks, Conformance,
                         testing::Values(conformance_target<LocksStack>("locks_memory", {.locks = true})),
                         conformance_name);

FileLock posix(Type type, std::uint64_t owner, std::uint64_t start = 0, std::uint64_t end = UINT64_MAX) {
  return {Kind::kPosix, type, start, end, owner, 1};
}
FileLock flock_of(Type type, std::uint64_t owner) {
  return {Kind::kFlock, type, 0, UINT64_MAX, owner, 1};
}

Task<void> lock_and_note(FileOps& ops, OpContext ctx, Gfid gfid, FileLock lock, int& code) {
  Result<void> result = co_await ops.set_lock(ctx, gfid, lock, true);
  code = code_of(result);
}

constexpr int kWaiting = -1;

struct LocksTest : testing::Test {
  ~LocksTest() override { stack.loop.run_until_done(group.stop()); }

  /// Asks for the lock, waiting; the answer will be in the returned place.
  int& ask(Gfid gfid, const FileLock& lock, std::uint32_t session = 7) {
    return ask_in(group, gfid, lock, session);
  }
  int& ask_in(TaskGroup& in, Gfid gfid, const FileLock& lock, std::uint32_t session = 7) {
    int& code = codes.emplace_back(kWaiting);
    OpContext ctx;
    ctx.session = session;
    in.spawn(stack.loop.executor(), lock_and_note(*stack.locks, ctx, gfid, lock, code));
    stack.loop.settle();
    return code;
  }
  void set(const FileLock& lock) {
    must(c.set_lock(file, lock));
    stack.loop.settle();
  }

  LocksStack stack;
  Client c{stack};
  const Gfid file = c.file(Gfid::root(), "f"), other_file = c.file(Gfid::root(), "g");
  std::list<int> codes;
  TaskGroup group{"test"};
};

TEST_F(LocksTest, WaitsUntilUnlocked) {
  set(posix(Type::kWrite, 1, 0, 9));
  const int& waiter = ask(file, posix(Type::kRead, 2, 5, 15));
  EXPECT_EQ(waiter, kWaiting);
  EXPECT_EQ(stack.locks->waiting(), 1u);
  set(posix(Type::kUnlock, 1, 0, 4));
  EXPECT_EQ(waiter, kWaiting);
  set(posix(Type::kUnlock, 1, 5, 9));
  EXPECT_EQ(waiter, 0);
  EXPECT_EQ(stack.locks->waiting(), 0u);
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kWrite, 1, 15, 15))), EAGAIN);
}

TEST_F(LocksTest, LongestWaiterFirst) {
  set(posix(Type::kWrite, 1));
  std::vector<int*> waiters;
  for (std::uint64_t owner = 2; owner < 7; ++owner) waiters.push_back(&ask(file, posix(Type::kWrite, owner)));
  for (std::uint64_t owner = 1; owner < 6; ++owner) {
    set(posix(Type::kUnlock, owner));
    for (std::uint64_t w = 2; w < 7; ++w) EXPECT_EQ(*waiters[w - 2], w <= owner + 1 ? 0 : kWaiting);
  }
}

TEST_F(LocksTest, ReadersAreGrantedTogether) {
  set(posix(Type::kWrite, 1));
  const int &a = ask(file, posix(Type::kRead, 2)), &b = ask(file, posix(Type::kRead, 3));
  const int& writer = ask(file, posix(Type::kWrite, 4));
  set(posix(Type::kUnlock, 1));
  EXPECT_EQ(a, 0);
  EXPECT_EQ(b, 0);
  EXPECT_EQ(writer, kWaiting);
}

TEST_F(LocksTest, CancelledWaitLeavesNothing) {
  set(posix(Type::kWrite, 1));
  TaskGroup impatient("impatient");
  const int& waiter = ask_in(impatient, file, posix(Type::kWrite, 2));
  const int& next = ask(file, posix(Type::kWrite, 3));
  stack.loop.run_until_done(impatient.stop());
  EXPECT_EQ(waiter, ECANCELED);
  EXPECT_EQ(stack.locks->waiting(), 1u);
  set(posix(Type::kUnlock, 1));
  EXPECT_EQ(next, 0);
}

TEST_F(LocksTest, EndOfSessionWakesOthersAndCancelsItsOwn) {
  const int &held = ask(file, posix(Type::kWrite, 1), 8), &own = ask(file, posix(Type::kWrite, 2), 8);
  const int& other = ask(file, posix(Type::kWrite, 1), 9);
  EXPECT_EQ(held, 0);
  OpContext ctx;
  ctx.session = 8;
  must(stack.loop.run_until_done(stack.locks->end_session(ctx)));
  stack.loop.settle();
  EXPECT_EQ(own, ECANCELED);
  EXPECT_EQ(other, 0);
  EXPECT_EQ(stack.locks->locks_held(), 1u);
}

TEST_F(LocksTest, SimpleCycleIsADeadlock) {
  set(posix(Type::kWrite, 1, 0, 0));
  set(posix(Type::kWrite, 2, 1, 1));
  const int& first = ask(file, posix(Type::kWrite, 1, 1, 1));
  EXPECT_EQ(first, kWaiting);
  EXPECT_EQ(ask(file, posix(Type::kWrite, 2, 0, 0)), EDEADLK);
  set(posix(Type::kUnlock, 2, 1, 1));
  EXPECT_EQ(first, 0);
}

TEST_F(LocksTest, CycleOverThreeOwnersAndTwoFiles) {
  set(posix(Type::kWrite, 1, 0, 0));
  set(posix(Type::kWrite, 2, 1, 1));
  must(c.set_lock(other_file, posix(Type::kWrite, 3, 0, 0)));
  EXPECT_EQ(ask(file, posix(Type::kWrite, 1, 1, 1)), kWaiting);
  EXPECT_EQ(ask(other_file, posix(Type::kRead, 2, 0, 0)), kWaiting);
  EXPECT_EQ(ask(file, posix(Type::kWrite, 3, 0, 0)), EDEADLK);
}

TEST_F(LocksTest, FlockUpgradeOfTwoSharers) {
  set(flock_of(Type::kRead, 1));
  set(flock_of(Type::kRead, 2));
  const int& first = ask(file, flock_of(Type::kWrite, 1));
  EXPECT_EQ(first, kWaiting);
  EXPECT_EQ(ask(file, flock_of(Type::kWrite, 2)), 0) << "the first one let go of its shared lock";
  set(flock_of(Type::kUnlock, 2));
  EXPECT_EQ(first, 0);
}

TEST_F(LocksTest, GraceKeepsOthersWaiting) {
  stack.locks->start_grace(10s);
  EXPECT_EQ(code_of(c.set_lock(file, posix(Type::kWrite, 1))), EAGAIN);
  const int& newcomer = ask(file, posix(Type::kRead, 1));
  OpContext claim;
  claim.session = 8;
  claim.retry = true;
  const FileLock lock = posix(Type::kWrite, 5);
  must(stack.loop.run_until_done(stack.locks->set_lock(claim, file, lock, false)));
  stack.loop.run_for(9s);
  EXPECT_EQ(newcomer, kWaiting);
  stack.loop.run_for(1s);
  EXPECT_EQ(newcomer, kWaiting) << "the claimed lock is in the way now";
  must(stack.loop.run_until_done(stack.locks->end_session(claim)));
  stack.loop.settle();
  EXPECT_EQ(newcomer, 0);
}

TEST_F(LocksTest, DestructionEndsWaits) {
  set(posix(Type::kWrite, 1));
  const int& waiter = ask(file, posix(Type::kWrite, 2));
  stack.locks.reset();
  stack.loop.settle();
  EXPECT_EQ(waiter, ECANCELED);
}

TEST(LocksLimits, AreEnforced) {
  LocksStack stack({.max_locks = 4, .max_locks_per_file = 3, .max_waiting = 1});
  Client c(stack);
  const Gfid a = c.file(Gfid::root(), "a"), b = c.file(Gfid::root(), "b");
  for (std::uint64_t i = 0; i < 3; ++i) must(c.set_lock(a, posix(Type::kWrite, 1, 2 * i, 2 * i)));
  EXPECT_EQ(code_of(c.set_lock(a, posix(Type::kWrite, 1, 100, 100))), ENOLCK);
  must(c.set_lock(b, posix(Type::kWrite, 1, 0, 0)));
  EXPECT_EQ(code_of(c.set_lock(b, posix(Type::kWrite, 1, 2, 2))), ENOLCK);
  must(c.set_lock(a, posix(Type::kUnlock, 1)));
  EXPECT_EQ(stack.locks->locks_held(), 1u);
}

TEST(LockTableTest, JoinsNeighboursOfOneType) {
  LockTable table;
  const LockOwner owner{1, 1};
  table.set(owner, posix(Type::kRead, 1, 0, 9));
  table.set(owner, posix(Type::kRead, 1, 20, 29));
  table.set(owner, posix(Type::kRead, 1, 10, 19));
  ASSERT_EQ(table.size(), 1u);
  EXPECT_EQ(table.held()[0].lock.start, 0u);
  EXPECT_EQ(table.held()[0].lock.end, 29u);
  table.set(owner, posix(Type::kWrite, 1, 30, UINT64_MAX));
  EXPECT_EQ(table.size(), 2u);
  table.set(owner, posix(Type::kUnlock, 1));
  EXPECT_TRUE(table.empty());
}

TEST(LockTableTest, AgainstOneLockPerByte) {
  // Random requests of three owners against the plainest model: an array of bytes per owner.
  std::unique_ptr<Random> random = make_seeded_random(7);
  constexpr std::uint64_t kBytes = 24;
  LockTable table;
  std::array<std::array<Type, kBytes>, 3> model{};
  for (auto& bytes : model) bytes.fill(Type::kUnlock);
  for (int round = 0; round < 3000; ++round) {
    const std::uint64_t who = random->below(3), start = random->below(kBytes);
    const std::uint64_t end = start + random->below(kBytes - start);
    const FileLock lock = posix(static_cast<Type>(random->below(3)), who, start, end);
    bool conflict = false;
    for (std::uint64_t other = 0; other < 3; ++other)
      for (std::uint64_t at = start; at <= end; ++at)
        conflict |= other != who && model[other][at] != Type::kUnlock && lock.type != Type::kUnlock &&
                    (lock.type == Type::kWrite || model[other][at] == Type::kWrite);
    if (lock.type != Type::kUnlock) ASSERT_EQ(table.conflict({1, who}, lock) != nullptr, conflict) << round;
    if (conflict) continue;
    table.set({1, who}, lock);
    for (std::uint64_t at = start; at <= end; ++at) model[who][at] = lock.type;
    std::array<std::array<Type, kBytes>, 3> seen{};
    for (auto& bytes : seen) bytes.fill(Type::kUnlock);
    for (const HeldLock& held : table.held())
      for (std::uint64_t at = held.lock.start; at <= held.lock.end; ++at)
        seen[held.owner.owner][at] = held.lock.type;
    ASSERT_EQ(seen, model) << round;
  }
}

}  // namespace
}  // namespace polder
