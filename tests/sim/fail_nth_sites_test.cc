// SPDX-License-Identifier: GPL-3.0-or-later
// The n-th call fails where whole daemons talk to one another: the disks of a secondary that applies a cut,
// those of the primary, every call on the network. What was acknowledged is there, once, and in the end both
// sites are the same.
#include <gmock/gmock.h>

#include "tests/sim/cluster_world.h"
#include "tests/sim/fail_nth.h"
#include "tests/sim/fold.h"
#include "tests/sim/sim_world.h"
#include "tests/workload/application.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;

/// Changes of most kinds, small enough to be in the log as a whole. Each must be done exactly once.
void change(Client& c, Gfid dir, int round) {
  const auto name = [&](const char* what) { return fmt::format("{}{}", what, round); };
  const auto created = must(c.create(dir, name("file"), {.mode = 0644}, O_RDWR | O_EXCL));
  const auto file = created.attr.gfid;
  must(c.write(file, created.handle, 0, "bytes"));
  must(c.write(file, created.handle, 0, " and more", true));
  must(c.fsync(file));
  must(c.release(file, created.handle));
  must(c.rename(dir, name("file"), dir, name("moved")));
  must(c.link(file, dir, name("linked")));
  must(c.mkdir(dir, name("dir")));
  must(c.setxattr(file, "user.key", name("value")));
  must(c.unlink(dir, name("moved")));
}

/// Of the log of each set: how many changes of the content it has made.
std::size_t changes_in_logs(SimSite& site) {
  std::size_t count = 0;
  for (const auto& [set, brick] : site.stack().bricks()) {
    auto reader = must(brick->journal().read_from(1, true));
    while (auto record = must(reader->next()))
      count += record->kind < RecordKind::kMark && record->is_history();
  }
  return count;
}

std::map<std::string, SimDisk*> disks_of(SimSite& site, std::uint32_t bricks) {
  std::map<std::string, SimDisk*> all{{"node", &site.node_disk()}};
  for (std::uint32_t brick = 0; brick < bricks; ++brick)
    all[fmt::format("brick{}", brick)] = &site.brick_disk(brick);
  return all;
}

// --- two sites

/// East has changed, and west applies it.
class SitesScenario : public FailNthScenario {
 public:
  void prepare() override {
    world_.pair();
    world_.start_session();
    world_.checkpoint();  // the first sync, of nothing: its records say less of times than those that follow
    change(client_, Gfid::root(), 0);
    world_.checkpoint();
  }

  void act() override {
    change(client_, Gfid::root(), 1);
    for (int i = 0; i < 150 && !fired(); ++i) world_.loop.run_for(10ms);
  }

 protected:
  void expect_a_moment() {
    const auto found = world_.differences_from_a_moment();
    if (found) EXPECT_THAT(*found, IsEmpty());
  }
  /// Everything comes to west after all, and a further change, too.
  void expect_same_in_the_end() {
    change(client_, Gfid::root(), 2);
    world_.checkpoint();
    EXPECT_THAT(world_.differences(), IsEmpty());
    for (auto* site : {&world_.east, &world_.west}) {
      auto& log = site->brick().journal();
      for (const auto& damage : must(log.verify()).damage)
        ADD_FAILURE() << site->name() << ": " << damage.what;
      EXPECT_THAT(differing_lines(fold_logs(world_.loop, site->clock(), {&log}), site->dump(),
                                  site->name() + ", compared with its log"),
                  IsEmpty());
    }
  }

  SimWorld world_{1};
  BorrowedStack mounted_{world_.loop, world_.mount};
  Client client_{mounted_};
};

class SecondaryScenario final : public SitesScenario {
 public:
  std::map<std::string, SimDisk*> disks() override { return disks_of(world_.west, 1); }
  void on_freeze() override { world_.network.kill_processes("west"); }

  void judge(const Fault& fault) override {
    if (fault.ends_process() || fault.ends_power()) {
      if (!fault.ends_process()) world_.loop.run_for(3s);  // it goes on with what it made of the error
      if (fault.ends_power())
        world_.west.lose_power(fault.seed);
      else
        world_.west.kill();
      world_.west.boot();
    } else {
      world_.loop.run_for(40s);  // the daemon looks after its bricks
      restart_if_told_to();
    }
    expect_a_moment();
    expect_same_in_the_end();
  }

 private:
  /// What its status may ask the admin to do.
  void restart_if_told_to() {
    const std::string reason(world_.status(world_.west).at("reason").as_string());
    if (!reason.contains("restart its daemon")) return;
    world_.west.kill();
    world_.west.boot();
  }
};

TEST(FailNthSites, TheSecondaryAppliesACut) {
  log_only_what_was_asked_for();
  for_each_call("cut apply on the secondary", [] { return std::make_unique<SecondaryScenario>(); },
                {.kinds = {FaultKind::kError, FaultKind::kErrorThenPowerLoss, FaultKind::kNoRoom,
                           FaultKind::kDeath, FaultKind::kPowerLoss},
                 .every = 61});
}

/// An application changes east, and all of it comes to west.
class PrimaryScenario final : public SitesScenario {
 public:
  std::map<std::string, SimDisk*> disks() override { return disks_of(world_.east, 1); }
  void on_freeze() override { world_.network.kill_processes("east"); }

  void act() override {
    running_ = detail::start(world_.loop.executor(), application_.run(12));
    for (int i = 0; i < 300 && !running_->done && !fired(); ++i) world_.loop.run_for(5ms);
    if (!fired()) world_.loop.run_for(500ms);
  }

  void judge(const Fault& fault) override {
    if (fault.ends_power())
      world_.east.lose_power(fault.seed);
    else if (fault.ends_process())
      world_.east.kill();
    if (fault.ends_process()) world_.east.boot();
    for (int i = 0; i < 60 && !running_->done; ++i) world_.loop.run_for(1s);
    ASSERT_TRUE(running_->done) << "an operation does not end";
    running_->take();
    if (fault.kind == FaultKind::kNone || fault.kind == FaultKind::kDeath)
      EXPECT_EQ(application_.failure(), "");
    world_.loop.run_for(40s);  // the daemon looks after its bricks
    // Who has not synced is told so, once (coherence.md, P6): also when it was a sync that failed.
    if (fault.ends_power() || fault.kind == FaultKind::kError) (void)client_.sync();
    expect_same_in_the_end();
  }

 private:
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  Application application_{world_.mount, world_.loop.clock(), *random_, {}};
  std::shared_ptr<detail::Outcome<void>> running_;
};

TEST(FailNthSites, ThePrimaryGoesOn) {
  log_only_what_was_asked_for();
  for_each_call("changes of the primary", [] { return std::make_unique<PrimaryScenario>(); },
                {.kinds = {FaultKind::kError, FaultKind::kNoRoom, FaultKind::kDeath}, .every = 97});
}

TEST(FailNthSites, ThePrimaryLosesPower) {
  log_only_what_was_asked_for();
  for_each_call("the primary loses power", [] { return std::make_unique<PrimaryScenario>(); },
                {.kinds = {FaultKind::kPowerLoss}, .every = 7});
}

class NetworkBetweenSites final : public SitesScenario {
 public:
  SimNetwork* network() override { return &world_.network; }
  void judge(const Fault&) override {
    world_.loop.run_for(3s);
    expect_a_moment();
    expect_same_in_the_end();
  }
};

TEST(FailNthSites, TheNetworkOfTwoSites) {
  log_only_what_was_asked_for();
  for_each_call("network of two sites", [] { return std::make_unique<NetworkBetweenSites>(); },
                {.kinds = {FaultKind::kReset, FaultKind::kTimeout}, .every = 13});
}

// --- a mount and its server

/// A mount whose connection has just broken makes its changes all the same.
class MountScenario final : public FailNthScenario {
 public:
  SimNetwork* network() override { return &world_.network; }

  void prepare() override {
    dir_ = must(client_.mkdir(Gfid::root(), "dir")).gfid;
    change(client_, dir_, 0);
    logged_ = changes_in_logs(world_.site);
  }
  void act() override {
    world_.network.reset("site", "client0");
    change(client_, dir_, 1);
    must(client_.sync());
  }
  void judge(const Fault& fault) override {
    world_.loop.run_for(1s);
    const auto logged = changes_in_logs(world_.site) - logged_;
    static std::size_t logged_without_fault = 0;
    if (fault.kind == FaultKind::kNone) logged_without_fault = logged;
    EXPECT_EQ(logged, logged_without_fault) << "changes were not done exactly once";
    std::vector<Journal*> logs;
    for (const auto& [set, brick] : world_.site.stack().bricks()) logs.push_back(&brick->journal());
    EXPECT_THAT(differing_lines(fold_logs(world_.loop, world_.site.clock(), logs), world_.site.dump(),
                                "the volume, compared with its logs"),
                IsEmpty());
    change(client_, dir_, 2);
    must(client_.end_session());
    EXPECT_THAT(world_.site.problems(), testing::IsEmpty());
  }

 private:
  ClusterWorld world_{1, {.bricks = 3, .mounts = 1}};
  BorrowedStack mounted_{world_.loop, world_.mounts[0]->ops()};
  Client client_{mounted_};
  Gfid dir_;
  std::size_t logged_ = 0;
};

TEST(FailNthSites, TheNetworkOfAMount) {
  log_only_what_was_asked_for();
  for_each_call("network of a mount", [] { return std::make_unique<MountScenario>(); },
                {.kinds = {FaultKind::kReset, FaultKind::kTimeout}, .every = 7});
}

}  // namespace
}  // namespace polder
