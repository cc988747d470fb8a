// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/leases/leases_layer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/hlc.h"
#include "base/random.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/conformance/sim_stack.h"
#include "core-volume/layer/pass_through.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid kRoot = Gfid::root();

/// Counts look-ups, and can hold removals and renames up.
class Below : public PassThroughLayer {
 public:
  using PassThroughLayer::PassThroughLayer;

  unsigned lookups = 0, removals = 0;
  bool hold = false;
  Event held;
  void let_go() {
    hold = false;
    held.notify_all();
  }

  Task<Result<FileAttr>> lookup(const OpContext& ctx, Gfid parent, std::string_view name) override {
    ++lookups;
    co_return co_await PassThroughLayer::lookup(ctx, parent, name);
  }
  Task<Result<void>> unlink(const OpContext& ctx, Gfid parent, std::string_view name) override {
    ++removals;
    while (hold) {
      CO_TRY(co_await held.wait());
    }
    co_return co_await PassThroughLayer::unlink(ctx, parent, name);
  }
  Task<Result<void>> rename(const OpContext& ctx, Gfid from, std::string_view from_name, Gfid to,
                            std::string_view to_name, unsigned flags) override {
    while (hold) {
      CO_TRY(co_await held.wait());
    }
    co_return co_await PassThroughLayer::rename(ctx, from, from_name, to, to_name, flags);
  }
};

class LeasesStack : public SimStack {
 public:
  LeasesStack() { layer.set_below(below); }
  FileOps& ops() override { return layer; }

  HlcClock hlc{loop.clock()};
  std::unique_ptr<Random> random = make_seeded_random(1);
  MemoryLayer memory{hlc, *random};
  Below below{memory};
  LeasesLayer layer{loop.clock()};
};

INSTANTIATE_TEST_SUITE_P(Leases, Conformance,
                         testing::Values(conformance_target<LeasesStack>("leases_memory")), conformance_name);

class Holder : public LeaseHolder {
 public:
  Holder(Clock& clock, LeasesLayer& layer, std::uint32_t session)
      : clock_(clock), layer_(layer), session_(session) {
    layer.attached(session, *this);
  }
  void recall(std::span<const Gfid> gfids, std::uint64_t number) override {
    recalls.insert(recalls.end(), gfids.begin(), gfids.end());
    last = number;
  }
  nanoseconds heard_at() const override { return clock_.boot_time(); }
  void answer() { layer_.answered(session_, last); }

  std::vector<Gfid> recalls;
  std::uint64_t last = 0;

 private:
  Clock& clock_;
  LeasesLayer& layer_;
  const std::uint32_t session_;
};

class LeasesLayerTest : public testing::Test {
 protected:
  LeasesStack stack;
  LeasesLayer& layer = stack.layer;
  Client one{stack, 1};
  Holder first{stack.loop.clock(), layer, 1}, second{stack.loop.clock(), layer, 2};
  TaskGroup group{"test"};

  LeasesLayerTest() { stack.loop.run_for(10s); }
  ~LeasesLayerTest() override {
    stack.below.let_go();
    stack.loop.run_until_done(group.stop());
  }

  Gfid make(std::string name) { return must(one.create(kRoot, name)).attr.gfid; }
  bool grant(std::uint32_t session, Gfid gfid) { return layer.grant(session, gfid, layer.mark()); }
  /// Runs beside the test; its errno, or -1 while it has not ended.
  template <typename Call>
  std::shared_ptr<int> begin(std::uint32_t session, Call call) {
    auto code = std::make_shared<int>(-1);
    auto task = [](LeasesLayer& layer, std::uint32_t session, Call call,
                   std::shared_ptr<int> code) -> Task<void> {
      const OpContext ctx{.session = session, .sequence = 1};
      auto done = co_await call(layer, ctx);
      *code = done ? 0 : done.error().code();
    };
    group.spawn(stack.loop.executor(), task(layer, session, std::move(call), code));
    stack.loop.settle();
    return code;
  }
  std::shared_ptr<int> unlink(std::uint32_t session, std::string_view name) {
    return begin(session,
                 [name](LeasesLayer& layer, const OpContext& ctx) { return layer.unlink(ctx, kRoot, name); });
  }
  std::shared_ptr<int> rename(std::uint32_t session, std::string_view from, std::string_view to) {
    return begin(session, [from, to](LeasesLayer& layer, const OpContext& ctx) {
      return layer.rename(ctx, kRoot, from, kRoot, to, 0);
    });
  }
};

TEST_F(LeasesLayerTest, OneClientAloneIsNeitherDelayedNorAskedFor) {
  make("f");
  grant(1, kRoot);
  EXPECT_EQ(*unlink(1, "f"), 0);
  EXPECT_EQ(stack.below.lookups, 0u);
  EXPECT_TRUE(first.recalls.empty());
}

TEST_F(LeasesLayerTest, ARemovalWaitsForWhoeverHasTheObjectBehindTheName) {
  const auto file = make("f");
  ASSERT_TRUE(grant(2, file));
  auto done = unlink(1, "f");
  EXPECT_EQ(*done, -1);
  EXPECT_EQ(stack.below.removals, 0u);
  ASSERT_EQ(second.recalls, std::vector{file});
  EXPECT_FALSE(grant(2, kRoot));
  EXPECT_FALSE(grant(2, file));
  second.answer();
  stack.loop.settle();
  EXPECT_EQ(*done, 0);
}

TEST_F(LeasesLayerTest, ARenameWaitsForItsDirectoriesAndBothObjects) {
  const auto file = make("f"), target = make("g");
  const auto directory = must(one.mkdir(kRoot, "d")).gfid;
  must(one.rename(kRoot, "g", directory, "g"));
  for (const auto& gfid : {file, target, directory, kRoot}) ASSERT_TRUE(grant(2, gfid));
  auto done = begin(1, [directory](LeasesLayer& layer, const OpContext& ctx) {
    return layer.rename(ctx, kRoot, "f", directory, "g", 0);
  });
  EXPECT_THAT(second.recalls, testing::UnorderedElementsAre(file, target, directory, kRoot));
  EXPECT_EQ(*done, -1);
  second.answer();
  stack.loop.settle();
  EXPECT_EQ(*done, 0);
}

TEST_F(LeasesLayerTest, WithoutAnAnswerTheLeaseEndsByTime) {
  const auto file = make("f");
  grant(2, file);
  const SetAttr change{.fields = SetAttr::kMode, .mode = 0600};
  auto done = begin(1, [&change, file](LeasesLayer& layer, const OpContext& ctx) {
    return layer.setattr(ctx, file, change);
  });
  stack.loop.run_for(1099ms);
  EXPECT_EQ(*done, -1);
  stack.loop.run_for(1ms);
  EXPECT_EQ(*done, 0);
  EXPECT_EQ(layer.numbers().unanswered, 1u);
}

TEST_F(LeasesLayerTest, WhoWaitsCanBeCancelledAndNothingHasHappened) {
  const auto file = make("f");
  grant(2, file);
  auto done = unlink(1, "f");
  stack.loop.run_until_done(group.stop());
  EXPECT_EQ(*done, ECANCELED);
  EXPECT_EQ(stack.below.removals, 0u);
  EXPECT_EQ(must(one.lookup(kRoot, "f")).gfid, file);
}

TEST_F(LeasesLayerTest, NothingIsGrantedToOthersUntilTheChangeIsOver) {
  const auto file = make("f");
  stack.below.hold = true;
  auto done = unlink(1, "f");  // nobody else is there: what is behind the name is not known
  const auto other = Gfid{{5}};
  const auto mark = layer.mark();
  EXPECT_FALSE(grant(2, other));
  EXPECT_TRUE(grant(1, other));
  stack.below.let_go();
  stack.loop.settle();
  EXPECT_EQ(*done, 0);
  EXPECT_FALSE(layer.grant(2, file, mark));
  EXPECT_TRUE(grant(2, other));
}

TEST_F(LeasesLayerTest, ChangesOfOneNameRunOneAfterAnotherSoTheRightObjectIsRecalled) {
  make("f");
  const auto renamed = make("g");
  grant(2, renamed);
  grant(1, renamed);
  stack.below.hold = true;
  auto renaming = rename(2, "g", "f");  // f is another object afterwards
  first.answer();
  stack.loop.settle();
  auto removing = unlink(1, "f");
  EXPECT_EQ(stack.below.removals, 0u);
  stack.below.let_go();
  stack.loop.settle();
  EXPECT_EQ(*renaming, 0);
  EXPECT_EQ(*removing, -1);
  EXPECT_EQ(second.recalls, std::vector{renamed});
  second.answer();
  stack.loop.settle();
  EXPECT_EQ(*removing, 0);
  EXPECT_EQ(code_of(one.lookup(kRoot, "f")), ENOENT);
}

TEST_F(LeasesLayerTest, ReadingRecallsNothing) {
  const auto file = make("f");
  grant(2, file);
  grant(2, kRoot);
  must(one.lookup(kRoot, "f"));
  must(one.getattr(file));
  auto opened = must(one.open(file));
  must(one.release(file, opened.handle));
  EXPECT_TRUE(second.recalls.empty());
  EXPECT_EQ(layer.numbers().leases, 2u);
}

TEST_F(LeasesLayerTest, EveryKindOfChangeRecalls) {
  const auto file = make("f"), other = make("g");
  const auto opened = must(one.open(file));
  using Call = std::function<Task<Result<void>>(LeasesLayer&, const OpContext&)>;
  const auto drop = [](auto task) -> Task<Result<void>> {
    CO_TRY(co_await std::move(task));
    co_return Result<void>();
  };
  // Read when the change begins, which is after the call.
  const NewObject directory{.mode = 0755}, pipe{.mode = S_IFIFO | 0644}, plain{.mode = 0644};
  const std::vector<std::pair<Gfid, Call>> changes = {
      {kRoot, [&](auto& l, auto& c) { return drop(l.mkdir(c, kRoot, "d", directory)); }},
      {kRoot, [&](auto& l, auto& c) { return drop(l.mknod(c, kRoot, "p", pipe)); }},
      {kRoot, [&](auto& l, auto& c) { return drop(l.symlink(c, kRoot, "s", "t")); }},
      {kRoot, [&](auto& l, auto& c) { return drop(l.create(c, kRoot, "n", plain, O_RDWR)); }},
      {file, [&](auto& l, auto& c) { return drop(l.create(c, kRoot, "f", plain, O_RDWR | O_TRUNC)); }},
      {kRoot, [&](auto& l, auto& c) { return drop(l.link(c, file, kRoot, "h")); }},
      {file, [&](auto& l, auto& c) { return drop(l.link(c, file, kRoot, "i")); }},
      {kRoot, [&](auto& l, auto& c) { return l.rmdir(c, kRoot, "d"); }},
      {file, [&](auto& l, auto& c) { return drop(l.open(c, file, O_RDWR | O_TRUNC)); }},
      {file, [&](auto& l,
                 auto& c) { return drop(l.write(c, file, opened.handle, 0, Buffer::copy_of("x"), false)); }},
      {file, [&](auto& l, auto& c) { return l.setxattr(c, file, "user.a", "b", 0); }},
      {file, [&](auto& l, auto& c) { return l.removexattr(c, file, "user.a"); }},
      {file, [&](auto& l, auto& c) { return l.fallocate(c, file, 0, 0, 100); }},
      {other, [&](auto& l, auto& c) { return drop(l.copy_range(c, file, 0, other, 0, 1)); }},
      {file, [&](auto& l, auto& c) { return l.replay(c, {}); }},
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    stack.loop.run_for(1s);  // the cool-down
    const auto& [gfid, call] = changes[i];
    ASSERT_TRUE(grant(2, gfid)) << i;
    const auto before = second.recalls.size();
    auto done = begin(1, call);
    EXPECT_EQ(second.recalls.size(), before + 1) << i;
    EXPECT_EQ(*done, -1) << i;
    second.answer();
    stack.loop.settle();
    EXPECT_NE(*done, -1) << i;
  }
}

TEST_F(LeasesLayerTest, WorkThatMayChangeAnythingRunsWithoutLeases) {
  grant(1, kRoot);
  grant(2, kRoot);
  bool ran = false;
  auto work = [](bool& ran) -> Task<void> {
    ran = true;
    co_return;
  };
  group.spawn(stack.loop.executor(), layer.without_leases(work(ran)));
  stack.loop.settle();
  EXPECT_FALSE(ran);
  first.answer();
  stack.loop.settle();
  EXPECT_FALSE(ran);
  second.answer();
  stack.loop.settle();
  EXPECT_TRUE(ran);
}

TEST_F(LeasesLayerTest, AfterARestartTheFirstChangeWaitsForOthersOfBefore) {
  LeasesLayer fresh(stack.loop.clock());
  fresh.set_below(stack.below);
  fresh.knew_before(1);
  fresh.knew_before(2);
  Holder back(stack.loop.clock(), fresh, 1);
  int code = -1;
  auto task = [](LeasesLayer& layer, int& code) -> Task<void> {
    const OpContext ctx{.session = 1, .sequence = 1};
    auto made = co_await layer.mkdir(ctx, kRoot, "late", {.mode = 0755});
    code = made ? 0 : made.error().code();
  };
  group.spawn(stack.loop.executor(), task(fresh, code));
  stack.loop.run_for(1099ms);
  EXPECT_EQ(code, -1);
  stack.loop.run_for(1ms);
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace polder
