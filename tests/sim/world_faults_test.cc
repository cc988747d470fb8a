// SPDX-License-Identifier: GPL-3.0-or-later
// The faults of the simulated world, each met by a whole daemon and its clients: replies that are lost, links
// that are slow, lossy or break in mid-frame, slow storage, clocks that drift, bits that flip.
#include <gmock/gmock.h>

#include "base/concurrency.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/each_seed.h"
#include "tests/sim/sim_world.h"
#include "tests/workload/application.h"
#include "tests/workload/look.h"
#include "tests/workload/volume_client.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;

class WorldFaults : public testing::Test {
 protected:
  WorldFaults() { log_only_what_was_asked_for(); }
};

// --- a request that was executed, and whose reply is lost

struct LostReply {
  ClusterWorld world{1, {.bricks = 1, .mounts = 1}};
  SimMount& mount = *world.mounts.front();
  const bool kill;  // the daemon dies with the connection, and the log remembers; else its session does

  /// The answer to `request`, whose first reply is lost with its connection after it was executed.
  template <typename T>
  Result<T> answer(Task<Result<T>> request) {
    const auto before = log().appended_index();
    world.network.block("site", mount.name());
    std::optional<Result<T>> result;
    TaskGroup group("request");
    group.spawn(world.loop.executor(), keep(std::move(request), result));
    for (int i = 0; i < 1000 && log().appended_index() == before; ++i) world.loop.run_for(1ms);
    EXPECT_GT(log().appended_index(), before);
    EXPECT_FALSE(result);
    const auto executed = log().appended_index();
    if (kill) {
      world.site.kill();
      world.site.boot();
    }
    world.network.lose_blocked("site", mount.name());
    world.loop.run_until_done(group.wait_idle());
    EXPECT_EQ(changes_since(executed), 0) << "it was executed again";
    return *std::move(result);
  }

 private:
  Journal& log() { return world.site.brick().journal(); }
  int changes_since(std::uint64_t index) {
    auto reader = must(log().read_from(index + 1, true));
    int changes = 0;
    while (auto record = must(reader->next())) changes += record->is_history();
    return changes;
  }
  template <typename T>
  static Task<void> keep(Task<Result<T>> request, std::optional<Result<T>>& result) {
    result = co_await std::move(request);
  }
};

class LostReplies : public testing::TestWithParam<bool> {};

TEST_P(LostReplies, ARequestIsDoneOnce) {
  log_only_what_was_asked_for();
  LostReply lost{.kill = GetParam()};
  auto& ops = lost.mount.ops();
  const OpContext ctx;
  auto made = lost.answer(ops.create(ctx, Gfid::root(), "f", {.mode = 0644}, O_RDWR | O_EXCL));
  ASSERT_TRUE(made) << made.error().message();
  const auto bytes = Buffer::copy_of("appended");
  auto written = lost.answer(ops.write(ctx, made->attr.gfid, made->handle, 0, bytes, true));
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(must(lost.world.site.brick().store().size(made->attr.gfid)), 8U);
  auto renamed = lost.answer(ops.rename(ctx, Gfid::root(), "f", Gfid::root(), "g", 0));
  EXPECT_TRUE(renamed) << renamed.error().message();
}

INSTANTIATE_TEST_SUITE_P(, LostReplies, testing::Bool(),
                         [](const auto& of) { return of.param ? "WithTheDaemon" : "WithTheConnection"; });

// --- everything at once

SimWorkersOptions slow_storage() {
  return {.threads = 4, .usual = 5ms, .slow = 2s, .slow_one_in = 50};
}

/// Many small evils that never end a connection for good: all that the clients did is there.
void suffer(std::uint64_t seed) {
  auto random = make_seeded_random(seed ^ 0x3c6ef372fe94f82b);
  ClusterWorld world(seed, {.bricks = 1 + 2 * static_cast<std::uint32_t>(random->below(2)), .mounts = 3});
  History history(world.mounts.size());
  Clients all;
  std::vector<std::unique_ptr<VolumeClient>> clients;
  TaskGroup group("clients");
  for (std::size_t i = 0; i < world.mounts.size(); ++i) {
    clients.push_back(std::make_unique<VolumeClient>(
        i, seed * 100 + i, all, history, [&](std::size_t number) { history.acknowledged(number); }));
    group.spawn(world.loop.executor(), clients.back()->act(world.mounts[i]->ops(), 60));
  }
  while (group.size() > 0) {
    auto& mount = *world.mounts[random->below(world.mounts.size())];
    switch (random->below(6)) {
      case 0:
        world.network.set_speed("site", mount.name(), random->below(3) == 0 ? 0 : 20'000 << random->below(8));
        break;
      case 1:
        world.network.set_loss("site", mount.name(), random->below(2) == 0 ? 0 : 5 + random->below(50));
        break;
      case 2:
        world.network.reset_after("site", mount.name(), 1 + random->below(3000));
        break;
      case 3:
        world.network.reset_after(mount.name(), "site", 1 + random->below(3000));
        break;
      case 4:
        world.site.slow_disks(random->below(2) == 0 ? SimWorkersOptions() : slow_storage());
        break;
      default:
        mount.clock().set_drift_ppm(static_cast<std::int64_t>(random->below(1001)) - 500);
        world.site.clock().set_drift_ppm(static_cast<std::int64_t>(random->below(1001)) - 500);
    }
    world.loop.run_for(nanoseconds(random->below(500'000'000)));
  }
  for (const auto& mount : world.mounts) {
    world.network.set_speed("site", mount->name(), 0);
    world.network.set_loss("site", mount->name(), 0);
  }
  world.site.slow_disks({});
  EXPECT_THAT(all.unexpected, IsEmpty());
  EXPECT_THAT(world.site.problems(), IsEmpty());
  history.acknowledged(history.acknowledge(history.cover_of_sync()));
  const auto found = must(world.loop.run_until_done(look(world.site.stack().top())));
  EXPECT_THAT(history.problems(found, history.acknowledgements()), IsEmpty());
}

TEST_F(WorldFaults, ClientsGetOverSlowLossyBreakingLinksSlowStorageAndDrift) {
  for_each_seed(seeds(4, 100), suffer);
}

// --- bits that flip at rest

/// True when the volume was started nevertheless: of sealed segments a start reads what it needs.
bool starts_on_a_flipped_log(std::uint64_t seed) {
  ClusterWorld world(seed, {.bricks = 1, .mounts = 0});
  for (const bool again : {false, true}) {
    if (again) {  // a segment that was sealed, too
      must(world.site.brick().store().syncfs());
      world.site.lose_power(seed);
      world.site.boot();
    }
    Application application(world.site.stack().top(), world.loop.clock(), *world.random);
    world.loop.run_until_done(application.run(30));
  }
  world.site.shut_down();  // in order: the log has nothing behind its records
  const auto where = world.site.brick_disk().flip_bit(seed, "/brick0/data/.polder/changelog/0000");
  SCOPED_TRACE(where);
  EXPECT_FALSE(where.empty());
  world.site.boot();
  auto running = world.site.daemon().node().volumes.running(kSimVolume);
  if (!running) {
    EXPECT_THAT(world.site.daemon().node().volumes.failure(kSimVolume), testing::HasSubstr("changelog"));
    return false;
  }
  EXPECT_THAT(must(world.site.brick().journal().verify()).damage, testing::Not(IsEmpty()));
  return true;
}

TEST_F(WorldFaults, ABitThatFlippedInTheLogIsFound) {
  int started = 0;
  for_each_seed(seeds(20, 200), [&](std::uint64_t seed) { started += starts_on_a_flipped_log(seed); });
  fmt::print("{} of the volumes were started, and verify says what is wrong\n", started);
}

}  // namespace
}  // namespace polder
