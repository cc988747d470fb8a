// SPDX-License-Identifier: GPL-3.0-or-later
// Snapshots of a simulated volume: what one holds, and what is left when the daemon or the machine dies, or a
// disk fails, in the middle of making one, of going back to one, and of removing one.
#include <gmock/gmock.h>

#include "base/concurrency.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/each_seed.h"
#include "tests/sim/fold.h"
#include "tests/sim/sim_world.h"
#include "tests/workload/application.h"
#include "tests/workload/look.h"
#include "tests/workload/volume_client.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;

// --- what a snapshot holds

/// Clients change the volume while a snapshot is made. It has every step that was acknowledged before that
/// began, none that was begun after it had ended, and of what lies between what may be.
void make_under_load(std::uint64_t seed, std::size_t& certain) {
  ClusterWorld world(seed, {.bricks = 1, .mounts = 3});
  History history(world.mounts.size());
  Clients all;
  std::vector<std::unique_ptr<VolumeClient>> clients;
  TaskGroup group("clients");
  for (std::size_t i = 0; i < world.mounts.size(); ++i) {
    // What an fsync promises is not asked here: acknowledgements are the beginning and the end of the making.
    clients.push_back(std::make_unique<VolumeClient>(i, seed * 100 + i, all, history, [](std::size_t) {}));
    group.spawn(world.loop.executor(), clients.back()->act(world.mounts[i]->ops(), 60));
  }
  world.loop.run_for(world.some(1s));
  const auto begin = history.acknowledge(history.cover_of_sync());
  world.site.create_snapshot("s");
  if (history.acknowledgements() == begin + 1) history.acknowledge(history.cover_of_sync());
  history.acknowledged(begin + 1);
  world.loop.run_until_done(group.wait_idle());
  EXPECT_THAT(all.unexpected, IsEmpty());
  world.site.look_into_snapshot("s", [&](FileOps& snapshot) {
    const auto found = must(world.loop.run_until_done(look(snapshot)));
    EXPECT_THAT(history.problems(found, begin + 1), IsEmpty());
  });
  certain += history.certain(begin + 1);
  EXPECT_THAT(world.site.problems(), IsEmpty());
}

TEST(SimSnapshot, IsAPrefixOfWhatWasAcknowledged) {
  std::size_t certain = 0;
  for_each_seed(seeds(5, 100), [&](std::uint64_t seed) { make_under_load(seed, certain); });
  EXPECT_GT(certain, 50U) << "nothing was there to be found";
}

/// What was under way when it was made is in it as the log says, whole or not at all.
void compare_with_log(std::uint64_t seed) {
  ClusterWorld world(seed, {.bricks = 1, .mounts = 3});
  auto& brick = world.site.brick();
  Client(*std::make_unique<BorrowedStack>(world.loop, world.site.stack().top()), 0).chmod(Gfid::root(), 0755);
  std::vector<std::unique_ptr<Application>> applications;
  TaskGroup group("applications");
  for (const auto& mount : world.mounts) {
    applications.push_back(std::make_unique<Application>(mount->ops(), world.loop.clock(), *world.random,
                                                         ApplicationOptions{.pause = 100us}));
    group.spawn(world.loop.executor(), applications.back()->run(80));
  }
  for (int i = 0; i < 3; ++i) {
    world.loop.run_for(world.some(50ms));
    const auto name = fmt::format("s{}", i);
    const auto made = world.site.create_snapshot(name);
    const auto logged = fold_logs(world.loop, world.site.clock(), {&brick.journal()},
                                  made.at("mark_index").to_number<std::uint64_t>());
    world.site.look_into_snapshot(name, [&](FileOps& snapshot) {
      BorrowedStack stack(world.loop, snapshot);
      EXPECT_THAT(
          differing_lines(logged, Client(stack, 0).dump(), "the log up to the mark, and the snapshot"),
          testing::IsEmpty());
    });
  }
  world.loop.run_until_done(group.wait_idle());
  for (const auto& application : applications) EXPECT_EQ(application->failure(), "");
}

TEST(SimSnapshot, IsTheLogUpToItsMark) {
  for_each_seed(seeds(5, 100), compare_with_log);
}

// --- deaths and errors in the middle

/// One site whose volume one application changes, alone.
class SnapshotRun {
 public:
  explicit SnapshotRun(std::uint64_t seed)
      : random_(make_seeded_random(seed ^ 0x6a09e667f3bcc908)), world_(seed, {.bricks = 1, .mounts = 0}) {}

  void change(int operations) {
    Application application(site().stack().top(), world_.loop.clock(), *random_, {.max_write_bytes = 20'000});
    world_.loop.run_until_done(application.run(operations));
    EXPECT_EQ(application.failure(), "");
  }
  SimSite& site() { return world_.site; }
  void start() { site().call("POST", "/v1/volumes/data/start"); }
  void stop() { site().call("POST", "/v1/volumes/data/stop"); }
  bool has(const std::string& snapshot) { return std::ranges::count(site().snapshots(), snapshot) > 0; }
  std::vector<std::string> dump(const std::string& snapshot) {
    std::vector<std::string> lines;
    site().look_into_snapshot(snapshot, [&](FileOps& inside) {
      BorrowedStack stack(world_.loop, inside);
      lines = Client(stack, 0).dump();
    });
    return lines;
  }
  /// Or is stopped.
  bool takes_changes() {
    if (!site().daemon().node().volumes.running(kSimVolume)) return true;
    return site().loop().run_until_done(site().stack().top().sync({})).has_value();
  }
  Result<json::value> request(std::string method, std::string path, json::object body = {}) {
    return site().try_call(std::move(method), std::move(path), std::move(body));
  }
  /// The brick is whole, and there is one volume for each snapshot that the store knows.
  void expect_whole() {
    EXPECT_THAT(world_.site.problems(), IsEmpty());
    std::vector<std::string> known;
    for (const auto& snapshot : must(request("GET", "/v1/snapshots")).as_array())
      known.emplace_back(snapshot.at("id").as_string());
    EXPECT_THAT(site().volume_manager().volumes_of("brick0"), testing::UnorderedElementsAreArray(known));
  }

 private:
  std::unique_ptr<Random> random_;
  ClusterWorld world_;
};

/// What is asked of a site, and what is made before and looked at afterwards.
struct Story {
  std::function<void(SnapshotRun&)> before;
  std::function<Result<json::value>(SnapshotRun&)> request;
  std::function<bool(SnapshotRun&)> done;  // what was asked for
  std::function<void(SnapshotRun&)> after;
};

/// The calls at which it is to happen: all of them, or a few by chance, half of these among the last, where
/// it is decided.
std::vector<std::uint64_t> some_calls(Random& random, std::uint64_t calls) {
  constexpr std::uint64_t kLast = 60;
  std::vector<std::uint64_t> chosen;
  if (std::getenv("POLDER_LONG_TESTS")) {
    for (std::uint64_t n = 1; n <= calls; ++n) chosen.push_back(n);
  } else {
    for (int i = 0; i < 4; ++i) {
      chosen.push_back(1 + random.below(calls));
      chosen.push_back(calls - random.below(std::min(calls, kLast)));
    }
  }
  return chosen;
}

/// The daemon is killed, or the power goes, at the n-th call of any disk while it does what was asked of it;
/// or that call fails, and the daemon is restarted in order, or goes on.
enum class Evil { kKill, kPowerLoss, kErrorAndRestart, kError, kNoRoom };
constexpr std::array kEvilNames{"kill", "power loss", "EIO and a restart", "EIO", "ENOSPC"};

void end(SnapshotRun& run, const Story& story, std::uint64_t n, bool by_power_loss, std::uint64_t seed) {
  run.site().die_at(n);
  EXPECT_FALSE(story.request(run)) << "a dead daemon has answered";
  ASSERT_TRUE(run.site().died());
  by_power_loss ? run.site().lose_power(seed + n) : run.site().kill();
  run.site().boot();
}

void fail_and_restart(SnapshotRun& run, const Story& story, std::uint64_t n) {
  run.site().disks().fault().fail_nth(n, EIO);
  (void)story.request(run);  // may have got over it
  ASSERT_TRUE(run.site().disks().fault().fired());
  run.site().disks().fault().heal();
  run.site().shut_down();
  run.site().boot();
}

/// The daemon goes on. What had not happened is asked for again, and happens; a brick whose log could not be
/// written wants a restart before that.
void fail(SnapshotRun& run, const Story& story, std::uint64_t n, int code) {
  auto& fault = run.site().disks().fault();
  fault.fail_nth(n, code);
  auto answer = story.request(run);  // may have got over it
  ASSERT_TRUE(fault.fired());
  fault.heal();
  if (!answer) EXPECT_THAT(answer.error().message(), testing::HasSubstr("snapshot s"));
  const bool again = !answer && !story.done(run);
  if (again) answer = story.request(run);
  if (!run.takes_changes()) {
    run.site().shut_down();
    run.site().boot();
    if (again && !answer) answer = story.request(run);
  }
  if (again) EXPECT_TRUE(answer) << answer.error().message();
}

/// A world of a seed is always the same, so each n has a world of its own.
void suffer(std::uint64_t seed, const Story& story, std::uint64_t n, Evil evil) {
  SCOPED_TRACE(fmt::format("{} at call {}", kEvilNames[static_cast<std::size_t>(evil)], n));
  SnapshotRun run(seed);
  story.before(run);
  switch (evil) {
    case Evil::kKill:
    case Evil::kPowerLoss:
      end(run, story, n, evil == Evil::kPowerLoss, seed);
      break;
    case Evil::kErrorAndRestart:
      fail_and_restart(run, story, n);
      break;
    default:
      fail(run, story, n, evil == Evil::kNoRoom ? ENOSPC : EIO);
  }
  story.after(run);
  run.expect_whole();
}

/// The number of evils.
int at_some_calls(std::uint64_t seed, const Story& story) {
  std::uint64_t calls = 0;
  {
    SnapshotRun run(seed);
    story.before(run);
    calls = run.site().disks().fault().calls();
    must(story.request(run));
    calls = run.site().disks().fault().calls() - calls;
    story.after(run);
    run.expect_whole();
  }
  auto random = make_seeded_random(seed);
  int evils = 0;
  for (const auto n : some_calls(*random, calls)) {
    for (const auto evil :
         {Evil::kKill, Evil::kPowerLoss, Evil::kErrorAndRestart, Evil::kError, Evil::kNoRoom}) {
      if (!testing::Test::HasFailure()) suffer(seed, story, n, evil);
      ++evils;
    }
  }
  return evils;
}

TEST(SimSnapshot, ARestoreThatFailsLeavesTheOldOrTheRestored) {
  int evils = 0, restored = 0;
  for_each_seed(seeds(2, 2), [&](std::uint64_t seed) {
    std::vector<std::string> wanted, old;
    Story story;
    story.before = [&](SnapshotRun& run) {
      run.change(40);
      run.site().create_snapshot("s");
      wanted = run.site().dump();
      run.change(40);
      old = run.site().dump();
      run.stop();
    };
    story.request = [](SnapshotRun& run) { return run.request("POST", "/v1/snapshots/s/restore"); };
    story.done = [](SnapshotRun& run) { return run.site().snapshots().size() > 1; };
    story.after = [&](SnapshotRun& run) {
      run.start();
      const bool kept = run.site().snapshots().size() > 1;
      EXPECT_THAT(differing_lines(kept ? wanted : old, run.site().dump(), kept ? "restored" : "not restored"),
                  testing::IsEmpty());
      for (const auto& name : run.site().snapshots()) {
        // One that failed when it was decided is completed by the next, which then replaces what it restored.
        const bool of_restored = name == "s" || name.ends_with("-2");
        EXPECT_THAT(differing_lines(of_restored ? wanted : old, run.dump(name), "the snapshot " + name),
                    testing::IsEmpty());
      }
      restored += kept;
      run.change(10);
    };
    evils += at_some_calls(seed, story);
  });
  fmt::print("{} kills, power losses and errors, {} restored afterwards\n", evils, restored);
  EXPECT_GT(restored, 2);
  EXPECT_LT(restored, evils);
}

TEST(SimSnapshot, AMakingThatFailsLeavesAWholeOneOrNone) {
  int evils = 0, made = 0;
  for_each_seed(seeds(2, 2), [&](std::uint64_t seed) {
    std::vector<std::string> wanted;
    Story story;
    story.before = [&](SnapshotRun& run) {
      run.change(40);
      must(run.site().brick().store().syncfs());
      wanted = run.site().dump();
    };
    story.request = [](SnapshotRun& run) {
      return run.request("POST", "/v1/snapshots", {{"name", "s"}, {"volume", "data"}, {"timestamp", false}});
    };
    story.done = [](SnapshotRun& run) { return run.has("s"); };
    story.after = [&](SnapshotRun& run) {
      if (run.has("s")) {
        EXPECT_THAT(differing_lines(wanted, run.dump("s"), "the snapshot"), testing::IsEmpty());
        ++made;
      }
      run.change(10);
    };
    evils += at_some_calls(seed, story);
  });
  fmt::print("{} kills, power losses and errors, {} made\n", evils, made);
  EXPECT_GE(made, 2);
  EXPECT_LT(made, evils);
}

TEST(SimSnapshot, ARemovalThatFailsIsFinishedOrNotBegun) {
  int evils = 0, gone = 0;
  for_each_seed(seeds(2, 2), [&](std::uint64_t seed) {
    std::vector<std::string> wanted;
    Story story;
    story.before = [&](SnapshotRun& run) {
      run.change(40);
      run.site().create_snapshot("s");
      wanted = run.site().dump();
      run.change(10);
    };
    story.request = [](SnapshotRun& run) { return run.request("DELETE", "/v1/snapshots/s"); };
    story.done = [](SnapshotRun& run) { return !run.has("s"); };
    story.after = [&](SnapshotRun& run) {
      if (run.has("s"))
        EXPECT_THAT(differing_lines(wanted, run.dump("s"), "the snapshot"), testing::IsEmpty());
      gone += !run.has("s");
    };
    evils += at_some_calls(seed, story);
  });
  fmt::print("{} kills, power losses and errors, {} gone\n", evils, gone);
  EXPECT_GT(gone, 2);
  EXPECT_LT(gone, evils);
}

}  // namespace
}  // namespace polder
