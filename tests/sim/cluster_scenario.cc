// SPDX-License-Identifier: GPL-3.0-or-later
// Several machines change a volume of one or three bricks while connections break, disks fail, the daemon is
// killed and the power goes, again and again. What was acknowledged is there, what an fsync was acknowledged
// for survives the loss of power, and nothing is there that nobody made.
#include "base/concurrency.h"
#include "base/coro.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/scenario.h"
#include "tests/workload/look.h"
#include "tests/workload/shared_files.h"
#include "tests/workload/volume_client.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kOperations = 600;  // acknowledged, at least

class ClusterRun {
 public:
  explicit ClusterRun(const RunOptions& options)
      : random_(make_seeded_random(options.seed ^ 0xbb67ae8584caa73b)),
        world_(options.seed, {.bricks = below(2) == 0 ? 1U : 3U,
                              .spread = below(2) == 0 ? Spread::kDirs : Spread::kFiles,
                              .mounts = 2 + below(4),
                              .small_segments = below(2) == 0}),
        plan_(options.seed, options.faults, world_.loop.clock(), world_.trace),
        history_(world_.mounts.size()) {
    for (std::size_t i = 0; i < world_.mounts.size(); ++i) {
      clients_.push_back(
          std::make_unique<VolumeClient>(i, options.seed * 100 + i, all_, history_,
                                         [&](std::size_t number) { history_.acknowledged(number); }));
      sharers_.push_back(std::make_unique<SharingClient>(i, options.seed * 100 + 50 + i, all_, shared_));
    }
    must(world_.loop.run_until_done(shared_.begin(world_.mounts[0]->ops(), world_.mounts.size())));
  }

  RunReport run() {
    try {
      while (all_.acknowledged < kOperations && report_.problems.empty()) phase();
    } catch (...) {  // the site does not start any more, say: that is to be told, not what it leaves running
      world_.loop.run_until_done(group_.stop());
      throw;
    }
    if (report_.problems.empty()) report_.found(world_.site.differences_after_power_loss(random_->next()));
    report_.acknowledged = all_.acknowledged;
    report_.finish(plan_, world_.trace);
    return std::move(report_);
  }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_->below(bound); }
  SimMount& any_mount(Random& random) { return *world_.mounts[random.below(world_.mounts.size())]; }

  /// The clients work while things go wrong; then all is looked at, and is where the next phase begins.
  void phase() {
    all_.stop = all_.power_lost = all_.disk_failed = all_.full = false;
    const auto sessions = this->sessions();
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      auto& ops = world_.mounts[i]->ops();
      group_.spawn(world_.loop.executor(), clients_[i]->act(ops, 40));
      group_.spawn(world_.loop.executor(), sharers_[i]->act(ops, world_.loop.clock(), 15));
    }
    for (auto faults = 2 + below(6); group_.size() > 0; faults -= faults > 0) {
      world_.loop.run_for(world_.some(200ms));
      if (faults > 1 && !all_.power_lost) plan_.next(kFaults);
      if (faults == 1) plan_.next(kEnds);
    }
    settle();
    if (!report_.problems.empty()) return;
    auto found = look(sessions == this->sessions());
    if (report_.problems.empty()) begin_again(found);
  }

  /// What a full disk could not take is done soon after there is room.
  bool all_done() {
    return std::ranges::all_of(world_.site.stack().bricks(), [](const auto& brick) {
      const auto& log = brick.second->journal();
      return log.applied_index() == log.appended_index();
    });
  }

  /// What was left open ends.
  void settle() {
    for (int tries = 0; all_.full && !all_done() && tries < 60; ++tries) world_.loop.run_for(1s);
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      auto& ops = world_.mounts[i]->ops();
      auto resolved = world_.loop.run_until_done(clients_[i]->resolve(ops));
      for (int tries = 0; all_.full && !resolved && is_late(resolved.error()) && tries < 60; ++tries) {
        world_.loop.run_for(1s);
        resolved = world_.loop.run_until_done(clients_[i]->resolve(ops));
      }
      if (!resolved) report_.found({"resolve: " + resolved.error().message()});
      world_.loop.run_until_done(sharers_[i]->close_all(ops));
    }
  }

  /// A client that was away for too long has another one now, and none of its locks.
  std::vector<std::uint32_t> sessions() const {
    std::vector<std::uint32_t> list;
    for (const auto& mount : world_.mounts) list.push_back(mount->client().status().session);
    return list;
  }

  FoundVolume look(bool sessions_kept) {
    report_.found(all_.unexpected);
    report_.found(world_.problems());
    auto& top = world_.site.stack().top();
    const auto found = SharedFiles::others(must(world_.loop.run_until_done(polder::look(top))));
    auto history = history_;
    // A kill loses nothing, synced or not.
    if (!all_.power_lost) {
      history.acknowledged(history.acknowledge(history.cover_of_sync()));
      report_.found(must(world_.loop.run_until_done(shared_.problems(top, sessions_kept))));
    }
    report_.found(history.problems(found, history.acknowledgements()));
    return found;
  }

  void begin_again(const FoundVolume& found) {
    for (const auto& mount : world_.mounts) {
      auto synced = world_.loop.run_until_done(mount->ops().sync({}));
      const bool may_fail = all_.power_lost || all_.disk_failed;
      if (synced.failed_with(EIO) && may_fail) synced = world_.loop.run_until_done(mount->ops().sync({}));
      if (!synced) report_.found({mount->name() + ": sync: " + synced.error().message()});
    }
    must(world_.loop.run_until_done(shared_.begin(world_.mounts[0]->ops(), world_.mounts.size())));
    history_ = History(clients_.size(), found);
    all_.adopt(found);
    for (const auto& client : clients_) client->adopt(found);
  }

  // --- faults

  void reset(Random& random) { world_.network.reset("site", any_mount(random).name()); }

  void partition(Random& random) {
    const auto& machine = any_mount(random).name();
    world_.network.partition("site", machine);
    world_.loop.run_for(some(random, random.below(4) == 0 ? 40s : 1s));
    world_.network.heal("site", machine);
  }

  /// Requests arrive and are done, and nobody hears of it; perhaps the connection ends with that.
  void lose_replies(Random& random) {
    const auto& machine = any_mount(random).name();
    world_.network.block("site", machine);
    world_.loop.run_for(some(random, 2s));
    if (random.below(2) == 0) world_.network.reset("site", machine);
    world_.network.unblock("site", machine);
  }

  void kill(Random& random) {
    world_.site.kill();
    world_.loop.run_for(some(random, 2s));
    world_.site.boot();
  }

  /// At a system call of its own.
  void die(Random& random) {
    world_.site.run_until_death(1 + random.below(400));
    world_.site.kill();
    world_.site.boot();
  }

  /// A call fails, the daemon makes of that what it can, and is started again.
  void fail_call(Random& random) { fail_disk(random, false); }
  /// And all that follow, so that a failed sync cannot even be noted there; it is well again afterwards.
  void fail_all_calls(Random& random) { fail_disk(random, true); }

  void fail_disk(Random& random, bool for_good) {
    all_.disk_failed = true;
    auto& disk = world_.site.any_disk(random);
    // Syncs are one call of many, and what they lose is told only once.
    if (random.below(2) == 0) {
      disk.fail_nth_sync(1 + random.below(20), EIO, for_good);
    } else {
      disk.fail_nth(1 + random.below(300), EIO, for_good);
    }
    world_.loop.run_for(some(random, 3s));
    world_.site.kill();
    world_.site.boot();
    for (const auto& client : clients_) client->expect_losses();
  }

  void fill(Random& random) {
    all_.full = true;
    auto& disk = world_.site.brick_disk(static_cast<std::uint32_t>(random.below(world_.site.bricks())));
    disk.set_capacity(disk.used_bytes() + random.below(4 << 20));
    world_.loop.run_for(some(random, 5s));
    disk.set_capacity(0);
  }

  void delay(Random& random) {
    const auto least = 50us + some(random, 5ms);
    world_.network.set_delay(least, least + some(random, 20ms));
  }

  void set_clock(Random& random) { any_mount(random).clock().set_wall_skew(some(random, 1s)); }

  /// In the middle of everything; what is under way ends after it.
  void lose_power(Random& random) {
    all_.stop = all_.power_lost = true;
    world_.site.lose_power(random.next());
    world_.loop.run_for(some(random, 2s));
    world_.site.boot();
    for (const auto& client : clients_) client->expect_losses();
  }

  FaultPlan::Kind kind(std::string_view name, std::uint64_t weight, void (ClusterRun::*happen)(Random&)) {
    return {name, weight, [this, happen](Random& random) { (this->*happen)(random); }};
  }

  const std::vector<FaultPlan::Kind> kFaults{
      kind("reset", 4, &ClusterRun::reset),
      kind("partition", 4, &ClusterRun::partition),
      kind("lose-replies", 4, &ClusterRun::lose_replies),
      kind("kill", 4, &ClusterRun::kill),
      kind("die", 4, &ClusterRun::die),
      kind("fail-call", 1, &ClusterRun::fail_call),
      kind("fail-disk", 1, &ClusterRun::fail_all_calls),
      kind("full", 2, &ClusterRun::fill),
      kind("delay", 2, &ClusterRun::delay),
      kind("clock", 2, &ClusterRun::set_clock),
  };
  const std::vector<FaultPlan::Kind> kEnds{
      kind("power", 2, &ClusterRun::lose_power),
      kind("kill", 1, &ClusterRun::kill),
  };

  std::unique_ptr<Random> random_;
  ClusterWorld world_;
  FaultPlan plan_;
  History history_;
  Clients all_;
  std::vector<std::unique_ptr<VolumeClient>> clients_;
  SharedFiles shared_;
  std::vector<std::unique_ptr<SharingClient>> sharers_;
  TaskGroup group_{"clients"};
  RunReport report_;
};

}  // namespace

RunReport run_cluster(const RunOptions& options) {
  return ClusterRun(options).run();
}

}  // namespace polder
