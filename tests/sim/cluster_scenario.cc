// SPDX-License-Identifier: GPL-3.0-or-later
// Several machines change a volume of one or three bricks while connections break, disks fail, the daemon is
// killed and the power goes, again and again. What was acknowledged is there, what an fsync was acknowledged
// for survives the loss of power, and nothing is there that nobody made. Snapshots are made in the middle of
// it, and the volume goes back to one now and then: cluster_snapshots.h.
#include "base/concurrency.h"
#include "base/coro.h"
#include "tests/sim/cluster_snapshots.h"
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
    all_.stop = all_.power_lost = all_.disk_failed = all_.full = all_.session_ended = restored_ = false;
    const auto sessions = this->sessions();
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      auto& ops = world_.mounts[i]->ops();
      group_.spawn(world_.loop.executor(), clients_[i]->act(ops, 40));
      group_.spawn(world_.loop.executor(), sharers_[i]->act(ops, world_.loop.clock(), 15));
    }
    for (auto faults = 2 + below(6); group_.size() > 0; faults -= faults > 0) {
      world_.loop.run_for(world_.some(200ms));
      if (faults > 1 && !all_.power_lost) plan_.next(can_snapshot() ? kFaultsAndSnapshots : kFaults);
      if (faults == 1) plan_.next(can_snapshot() ? kEndsAndSnapshots : kEnds);
    }
    settle();
    if (!report_.problems.empty()) return;
    auto found = look(sessions == this->sessions());
    if (can_snapshot() && report_.problems.empty()) found = after_snapshots(std::move(found));
    if (report_.problems.empty()) begin_again(found);
  }

  /// Of a volume of several bricks there are none yet.
  bool can_snapshot() const { return world_.site.bricks() == 1; }

  /// Those of this phase hold what they must; perhaps one of all is gone back to, or deleted.
  FoundVolume after_snapshots(FoundVolume found) {
    snapshots_.judge(history_, shared_);
    if (!report_.problems.empty() || !snapshots_.any() || below(2) == 0) return found;
    plan_.next(kAtRest);
    if (!report_.problems.empty()) return found;
    report_.found(world_.site.problems());
    return SharedFiles::others(must(world_.loop.run_until_done(polder::look(world_.site.stack().top()))));
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
    if (all_.power_lost) look_for_open_steps();
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

  /// What the volume has lost a snapshot may have.
  void look_for_open_steps() {
    snapshots_.look_into_new([&](FileOps& inside) {
      for (const auto& client : clients_) must(world_.loop.run_until_done(client->look_for_open(inside)));
    });
  }

  /// A client that was away for too long has another one now, and none of its locks.
  std::vector<std::uint32_t> sessions() const {
    std::vector<std::uint32_t> list;
    for (const auto& mount : world_.mounts) list.push_back(mount->client().status().session);
    return list;
  }

  FoundVolume look(bool sessions_kept) {
    report_.found(all_.unexpected);
    report_.found(world_.site.problems());
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
      const bool may_fail = all_.power_lost || all_.disk_failed || restored_;
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

  /// For so long that the session of the machine ends (C20).
  void expire(Random& random) {
    auto& mount = any_mount(random);
    const auto session = mount.client().status().session;
    all_.session_ended = true;
    world_.network.partition("site", mount.name());
    world_.network.reset("site", mount.name());
    world_.loop.run_for(61s + some(random, 5s));
    world_.network.heal("site", mount.name());
    world_.loop.run_for(5s);
    if (mount.client().status().session == session)
      report_.found({mount.name() + " has its session still, after a minute without a connection"});
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
    (void)world_.site.fail_call(random, for_good);
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

  /// While a connection breaks, or a machine is away.
  void make_snapshot(Random& random) {
    const auto& machine = any_mount(random).name();
    const auto trouble = random.below(3);
    group_.spawn(world_.loop.executor(), after(some(random, 20ms), [this, trouble, machine] {
                   if (trouble == 1) world_.network.reset("site", machine);
                   if (trouble == 2) world_.network.partition("site", machine);
                 }));
    snapshots_.make(random, history_, shared_, Death::kNone);
    world_.loop.run_for(20ms);
    world_.network.heal("site", machine);
  }
  Task<void> after(nanoseconds wait, std::function<void()> what) {
    if (co_await world_.loop.clock().sleep_for(wait)) what();
  }
  void die_making_snapshot(Random& random) { snapshots_.make(random, history_, shared_, Death::kKill); }
  void lose_power_making_snapshot(Random& random) {
    all_.stop = all_.power_lost = true;
    snapshots_.make(random, history_, shared_, Death::kPowerLoss);
    for (const auto& client : clients_) client->expect_losses();
  }

  // Between two phases.
  void restore(Random& random) { go_back(random, Death::kNone); }
  void die_restoring(Random& random) { go_back(random, Death::kKill); }
  void lose_power_restoring(Random& random) { go_back(random, Death::kPowerLoss); }
  /// What a mount has open, it has no more; what it had not synced, it is told of (coherence.md, P9).
  void go_back(Random& random, Death death) {
    auto& mount = any_mount(random);
    auto opened = must(world_.loop.run_until_done(shared_.open_log(mount.ops())));
    snapshots_.restore(random, death);
    restored_ = true;
    for (const auto& client : clients_) client->expect_losses();
    const auto read =
        world_.loop.run_until_done(mount.ops().read({}, opened.attr.gfid, opened.handle, 0, 4096));
    if (!read.failed_with(ESTALE)) report_.found({"a file that was open before a restore can be read"});
    must(world_.loop.run_until_done(mount.ops().release({}, opened.attr.gfid, opened.handle)));
  }
  void remove_snapshot(Random& random) { snapshots_.remove(random, Death::kNone); }
  void die_removing_snapshot(Random& random) { snapshots_.remove(random, Death::kKill); }

  FaultPlan::Kind kind(std::string_view name, std::uint64_t weight, void (ClusterRun::*happen)(Random&)) {
    return {name, weight, [this, happen](Random& random) { (this->*happen)(random); }};
  }

  const std::vector<FaultPlan::Kind> kFaults{
      kind("reset", 4, &ClusterRun::reset),         kind("partition", 4, &ClusterRun::partition),
      kind("expire", 1, &ClusterRun::expire),       kind("lose-replies", 4, &ClusterRun::lose_replies),
      kind("kill", 4, &ClusterRun::kill),           kind("die", 4, &ClusterRun::die),
      kind("fail-call", 1, &ClusterRun::fail_call), kind("fail-disk", 1, &ClusterRun::fail_all_calls),
      kind("full", 2, &ClusterRun::fill),           kind("delay", 2, &ClusterRun::delay),
      kind("clock", 2, &ClusterRun::set_clock),
  };
  const std::vector<FaultPlan::Kind> kEnds{
      kind("power", 2, &ClusterRun::lose_power),
      kind("kill", 1, &ClusterRun::kill),
  };
  const std::vector<FaultPlan::Kind> kFaultsAndSnapshots =
      and_also(kFaults, {kind("snapshot", 5, &ClusterRun::make_snapshot),
                         kind("snapshot-die", 3, &ClusterRun::die_making_snapshot)});
  const std::vector<FaultPlan::Kind> kEndsAndSnapshots =
      and_also(kEnds, {kind("snapshot-power", 1, &ClusterRun::lose_power_making_snapshot)});
  const std::vector<FaultPlan::Kind> kAtRest{
      kind("restore", 3, &ClusterRun::restore),
      kind("restore-die", 3, &ClusterRun::die_restoring),
      kind("restore-power", 2, &ClusterRun::lose_power_restoring),
      kind("remove-snapshot", 1, &ClusterRun::remove_snapshot),
      kind("remove-snapshot-die", 1, &ClusterRun::die_removing_snapshot),
  };
  static std::vector<FaultPlan::Kind> and_also(std::vector<FaultPlan::Kind> kinds,
                                               std::vector<FaultPlan::Kind> more) {
    std::ranges::move(more, std::back_inserter(kinds));
    return kinds;
  }

  std::unique_ptr<Random> random_;
  ClusterWorld world_;
  FaultPlan plan_;
  History history_;
  Clients all_;
  std::vector<std::unique_ptr<VolumeClient>> clients_;
  SharedFiles shared_;
  std::vector<std::unique_ptr<SharingClient>> sharers_;
  bool restored_ = false;  // after this phase
  RunReport report_;
  ClusterSnapshots snapshots_{
      world_, [this](std::vector<std::string> problems) { report_.found(std::move(problems)); }};
  TaskGroup group_{"clients"};
};

}  // namespace

RunReport run_cluster(const RunOptions& options) {
  return ClusterRun(options).run();
}

}  // namespace polder
