// SPDX-License-Identifier: GPL-3.0-or-later
// Two whole clusters in one thread: an application changes east at random while connections break, the
// network parts, and daemons and machines die. West is always east at the end of some cut, and in the end
// both are the same.
#include <gtest/gtest.h>

#include "core-volume/layer/conformance/conformance.h"
#include "tests/sim/sim_world.h"
#include "tests/workload/application.h"

namespace polder {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Conformance);

namespace {

using namespace std::chrono_literals;

/// One run: a volume with something in it, a session, and an application that goes on.
class Scenario {
 public:
  Scenario(std::uint64_t seed, ApplicationOptions options)
      : world(seed),
        random(make_seeded_random(seed ^ 0x6a09e667f3bcc909)),
        application(world.mount, world.loop.clock(), *random, options) {
    world.loop.run_until_done(application.run(60));  // for the first sync
    world.pair();
    world.start_session();
  }

  /// `fault` again and again while so many operations are tried; then everything is well, and both sites
  /// must be the same.
  void with(int operations, const std::function<void()>& fault) {
    auto running = detail::start(world.loop.executor(), application.run(operations));
    while (!running->done) {
      world.loop.run_for(some(200ms));
      fault();
    }
    running->take();
    EXPECT_EQ(application.failure(), "");
    EXPECT_GT(application.changes(), operations / 4);
    world.checkpoint();
    world.expect_equal();
  }

  nanoseconds some(nanoseconds most) {
    return nanoseconds(random->below(static_cast<std::uint64_t>(most.count())));
  }

  /// West dies at a system call of its own, whatever it is doing then.
  void crash_west(bool power) {
    auto& disk = world.west.any_disk(*random);
    disk.fail_nth(1 + random->below(300), EIO, true);
    for (int i = 0; i < 100 && !disk.fault_fired(); ++i) world.loop.run_for(5ms);
    if (power) {
      world.west.lose_power(random->next());
    } else {
      world.west.kill();
    }
    world.loop.run_for(some(2s));
    world.west.boot();
  }

  /// What a brick's error may ask the admin to do: a change was logged, then there was no room even to undo
  /// it.
  void restart_west_if_told_to() {
    const std::string reason(world.status(world.west).at("reason").as_string());
    if (!reason.contains("restart its daemon")) return;
    world.west.kill();
    world.west.boot();
  }

  SimWorld world;
  std::unique_ptr<Random> random;
  Application application;
};

TEST(GeorepFaults, TheSecondaryBecomesThePrimary) {
  for_each_seed(seeds_or({1, 2}), [](std::uint64_t seed) {
    Scenario run(seed, {.max_write_bytes = 100'000});
    run.with(200, [] {});
  });
}

TEST(GeorepFaults, ConnectionsBreak) {
  for_each_seed(seeds_or({100, 102}), [](std::uint64_t seed) {
    Scenario run(seed, {.max_write_bytes = 100'000});
    run.with(200, [&] {
      if (run.random->below(2) == 0) {
        run.world.network.reset("east", "west");
        return;
      }
      run.world.network.partition("east", "west");
      run.world.loop.run_for(run.some(run.random->below(8) == 0 ? 60s : 2s));
      run.world.network.heal("east", "west");
    });
  });
}

TEST(GeorepFaults, TheSecondaryIsAlwaysOneMomentOfThePrimary) {
  int moments = 0;
  for_each_seed(seeds_or({200, 202}), [&](std::uint64_t seed) {
    Scenario run(seed, {});
    run.with(200, [&] {
      switch (run.random->below(6)) {
        case 0:
          run.world.network.reset("east", "west");
          break;
        case 1:
          run.crash_west(run.random->below(2) == 0);
          break;
        default:
          moments += run.world.expect_prefix();
      }
    });
  });
  EXPECT_GT(moments, 0);
}

TEST(GeorepFaults, TheSecondaryIsKilled) {
  for_each_seed(seeds_or({300, 302}), [](std::uint64_t seed) {
    Scenario run(seed, {.max_write_bytes = 100'000});
    run.with(150, [&] { run.crash_west(false); });
  });
}

TEST(GeorepFaults, TheSecondaryLosesPower) {
  for_each_seed(seeds_or({401, 404}), [](std::uint64_t seed) {
    Scenario run(seed, {.max_write_bytes = 100'000});
    run.with(150, [&] { run.crash_west(true); });
  });
}

TEST(GeorepFaults, TheSecondaryIsFullNowAndThen) {
  for_each_seed(seeds_or({600, 602}), [](std::uint64_t seed) {
    Scenario run(seed, {.max_write_bytes = 100'000});
    run.with(150, [&] {
      run.world.west.brick_disk().set_capacity(1 + run.random->below(2'000'000));
      run.world.loop.run_for(run.some(5s));
      run.world.west.brick_disk().set_capacity(0);
      run.world.loop.run_for(run.some(10s));
      run.restart_west_if_told_to();
    });
  });
}

/// A call fails, the daemon goes on for a while with what it makes of that, then the power goes.
TEST(GeorepFaults, TheSecondarysDiskFails) {
  for_each_seed(seeds_or({700, 702}), [](std::uint64_t seed) {
    Scenario run(seed, {.max_write_bytes = 100'000});
    run.with(150, [&] {
      run.world.west.any_disk(*run.random).fail_nth(1 + run.random->below(300), EIO);
      run.world.loop.run_for(run.some(3s));
      run.world.west.lose_power(run.random->next());
      run.world.west.boot();
      run.world.loop.run_for(run.some(3s));
    });
  });
}

TEST(GeorepFaults, ThePrimaryIsKilled) {
  for_each_seed(seeds_or({500, 502}), [](std::uint64_t seed) {
    Scenario run(seed, {.max_write_bytes = 100'000});
    run.with(150, [&] {
      run.world.east.kill();
      run.world.loop.run_for(run.some(1s));
      run.world.east.boot();
      run.world.loop.run_for(run.some(5s));  // the mount asks again every other second
    });
  });
}

}  // namespace
}  // namespace polder
