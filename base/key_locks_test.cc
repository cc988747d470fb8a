// SPDX-License-Identifier: GPL-3.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concurrency.h"
#include "base/random.h"
#include "tests/support/loop.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using Mode = KeyLocks::Mode;
using testing::ElementsAre;

class KeyLocksTest : public testing::Test {
 protected:
  /// Takes the keys, notes "+name", holds them for a second, notes "-name".
  void use(const std::string& name, std::vector<KeyLocks::Key> keys, TaskGroup* group = nullptr) {
    (group ? *group : group_).spawn(loop_.executor(), hold(name, std::move(keys)));
    loop_.settle();
  }
  Task<void> hold(std::string name, std::vector<KeyLocks::Key> keys) {
    auto guard = co_await locks_.lock(std::move(keys));
    log_.push_back((guard ? "+" : "!") + name);
    if (!guard) co_return;
    (void)co_await loop_.clock().sleep_for(1s);
    log_.push_back("-" + name);
  }

  SimLoop loop_;
  KeyLocks locks_;
  TaskGroup group_{"test"};
  std::vector<std::string> log_;
};

KeyLocks::Key shared(std::string key) {
  return {std::move(key), Mode::kShared};
}
KeyLocks::Key exclusive(std::string key) {
  return {std::move(key), Mode::kExclusive};
}

TEST_F(KeyLocksTest, SharersTogetherOwnersAlone) {
  use("a", {shared("k")});
  use("b", {shared("k")});
  use("c", {exclusive("k")});
  use("d", {exclusive("other")});
  EXPECT_THAT(log_, ElementsAre("+a", "+b", "+d"));
  loop_.run_until_done(group_.wait_idle());
  EXPECT_THAT(log_, ElementsAre("+a", "+b", "+d", "-a", "-b", "-d", "+c", "-c"));
  EXPECT_TRUE(locks_.idle());
}

TEST_F(KeyLocksTest, FirstComeFirstServed) {
  use("reader", {shared("k")});
  use("writer", {exclusive("k")});
  use("late", {shared("k")});  // would fit beside the reader, but the writer came before
  EXPECT_THAT(log_, ElementsAre("+reader"));
  loop_.run_until_done(group_.wait_idle());
  EXPECT_THAT(log_, ElementsAre("+reader", "-reader", "+writer", "-writer", "+late", "-late"));
}

TEST_F(KeyLocksTest, NobodyOvertakesTheOneWhoWasHandedTheKey) {
  auto held = std::make_unique<KeyLocks::Guard>(*loop_.run_until_done(locks_.lock({exclusive("k")})));
  use("next", {exclusive("k")});
  held.reset();  // "next" has the key now but has not run yet
  use("later", {exclusive("k")});
  EXPECT_THAT(log_, ElementsAre("+next"));
  loop_.run_until_done(group_.wait_idle());
  EXPECT_THAT(log_, ElementsAre("+next", "-next", "+later", "-later"));
}

TEST_F(KeyLocksTest, OrderOfNamingDoesNotMatter) {
  use("ab", {exclusive("a"), exclusive("b")});
  use("ba", {exclusive("b"), exclusive("a")});
  use("cab", {shared("c"), exclusive("a"), shared("b")});
  loop_.run_until_done(group_.wait_idle());
  EXPECT_EQ(log_.size(), 6U);
  EXPECT_TRUE(locks_.idle());
}

TEST_F(KeyLocksTest, TheSameKeyTwiceIsOneLockInTheStrongerMode) {
  use("twice", {shared("k"), exclusive("k"), shared("k")});
  use("reader", {shared("k")});
  EXPECT_THAT(log_, ElementsAre("+twice"));
  loop_.run_until_done(group_.wait_idle());
  EXPECT_THAT(log_, ElementsAre("+twice", "-twice", "+reader", "-reader"));
}

TEST_F(KeyLocksTest, ACancelledWaiterMakesRoom) {
  TaskGroup impatient("impatient");
  use("reader", {shared("k")});
  use("writer", {exclusive("j"), exclusive("k")}, &impatient);
  use("late", {shared("k")});
  EXPECT_THAT(log_, ElementsAre("+reader"));
  loop_.run_until_done(impatient.stop());
  loop_.settle();
  EXPECT_THAT(log_, ElementsAre("+reader", "!writer", "+late"));
  loop_.run_until_done(group_.wait_idle());
  EXPECT_TRUE(locks_.idle());  // "j" too, which the writer held already
}

TEST_F(KeyLocksTest, AGuardMovesAndReleasesOnce) {
  auto first = loop_.run_until_done(locks_.lock({exclusive("a")})).value();
  KeyLocks::Guard second = std::move(first);
  first.release();  // NOLINT(bugprone-use-after-move): what is left behind holds nothing
  EXPECT_FALSE(locks_.idle());
  second = loop_.run_until_done(locks_.lock({exclusive("b")})).value();
  use("a", {exclusive("a")});
  EXPECT_THAT(log_, ElementsAre("+a"));
  second.release();
  second.release();
  loop_.run_until_done(group_.wait_idle());
  EXPECT_TRUE(locks_.idle());
}

/// Many tasks, few keys, some cancelled: nobody ever meets somebody that excludes him, and all come through.
struct Crowd {
  SimLoop loop;
  std::unique_ptr<Random> random;
  KeyLocks locks;
  std::map<std::string, int> inside;  // sharers, or -1
  int served = 0;
  int violations = 0;

  std::vector<KeyLocks::Key> some_keys() {
    std::vector<KeyLocks::Key> keys;
    for (std::uint64_t i = 0; i <= random->below(4); ++i) {
      std::string name(1, static_cast<char>('a' + random->below(5)));
      keys.push_back({name, random->below(2) ? Mode::kShared : Mode::kExclusive});
    }
    return keys;
  }

  Task<void> visit(std::vector<KeyLocks::Key> keys) {
    std::map<std::string, bool> wanted;  // key → exclusive
    for (const auto& key : keys) wanted[key.key] |= key.mode == Mode::kExclusive;
    if (!co_await loop.clock().sleep_for(nanoseconds(random->below(50)))) co_return;
    auto guard = co_await locks.lock(std::move(keys));
    if (!guard) co_return;
    for (auto& [key, alone] : wanted) {
      violations += alone ? inside[key] != 0 : inside[key] < 0;
      inside[key] += alone ? -1 : 1;
    }
    (void)co_await loop.clock().sleep_for(nanoseconds(1 + random->below(20)));
    for (auto& [key, alone] : wanted) inside[key] -= alone ? -1 : 1;
    ++served;
  }
};

TEST(KeyLocksCrowd, ExclusionAndProgress) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Crowd crowd{.loop = {}, .random = make_seeded_random(seed), .locks = {}, .inside = {}};
    TaskGroup patient("patient");
    TaskGroup impatient("impatient");
    for (int i = 0; i < 100; ++i) {
      (i % 4 ? patient : impatient).spawn(crowd.loop.executor(), crowd.visit(crowd.some_keys()));
    }
    crowd.loop.run_for(nanoseconds(100));
    crowd.loop.run_until_done(impatient.stop());
    crowd.loop.run_until_done(patient.wait_idle());
    EXPECT_EQ(crowd.violations, 0) << "seed " << seed;
    EXPECT_GE(crowd.served, 75) << "seed " << seed;
    EXPECT_TRUE(crowd.locks.idle()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace polder
