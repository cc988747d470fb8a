// SPDX-License-Identifier: GPL-3.0-or-later
// Two sites: applications change east while connections break, the network parts, and daemons and machines of
// both sides die. West is always east at the end of some cut, in the end both are the same, and east is what
// its log says.
#include <array>

#include "base/concurrency.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"
#include "tests/workload/application.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kChanges = 500;  // at least
constexpr std::size_t kApplications = 3;

class GeorepRun {
 public:
  explicit GeorepRun(const RunOptions& options)
      : world_(options.seed, options.seed / 2 % 2 == 0),
        random_(make_seeded_random(options.seed ^ 0x6a09e667f3bcc909)),
        log_has_all_(random_->below(2) == 0),
        plan_(options.seed, options.faults, world_.loop.clock(), world_.trace) {
    const ApplicationOptions of_any{.max_write_bytes = log_has_all_ ? 4096U : 100'000U};
    for (std::size_t i = 0; i < kApplications; ++i)
      applications_.push_back(
          std::make_unique<Application>(world_.mount, world_.loop.clock(), *random_, of_any));
  }

  RunReport run() {
    if (log_has_all_) must(world_.east.brick().journal().set_cursor("fold", 0));  // so that it stays whole
    populate();
    begin_first_sync();
    const auto enough = changes() + kChanges;
    while (changes() < enough && report_.problems.empty()) {
      work(60, true);
      for (const auto& application : applications_)
        if (!application->failure().empty()) report_.found({"application: " + application->failure()});
      if (!report_.problems.empty()) break;
      world_.checkpoint();
      report_.found(world_.differences());
      for (auto* site : {&world_.east, &world_.west}) report_.found(site->log_problems());
      if (log_has_all_) report_.found(world_.differences_from_the_log());
    }
    for (auto* site : {&world_.east, &world_.west})
      if (report_.problems.empty()) report_.found(site->problems());
    if (report_.problems.empty()) report_.found(world_.east.differences_after_power_loss(random_->next()));
    report_.acknowledged = changes();
    report_.finish(plan_, world_.trace);
    return std::move(report_);
  }

 private:
  std::uint64_t changes() const {
    std::uint64_t sum = 0;
    for (const auto& application : applications_) sum += static_cast<std::uint64_t>(application->changes());
    return sum;
  }
  SimSite& any_site(Random& random) { return random.below(3) == 0 ? world_.east : world_.west; }

  /// What the first sync finds: nothing in some runs, some hundreds of objects in others.
  void populate() {
    constexpr std::array kOperations{0, 20, 100, 400};
    work(kOperations[random_->below(kOperations.size())], false);
  }

  /// While the applications work, and from the start on with faults: names and objects that the scan has seen
  /// move, get links and go.
  void begin_first_sync() {
    TaskGroup group("applications");
    spawn(group, 60);
    world_.loop.run_for(world_.some(200ms));
    world_.pair();
    world_.loop.run_for(world_.some(200ms));
    world_.start_session();
    go_on(group, true);
  }

  void work(int operations, bool faults) {
    TaskGroup group("applications");
    spawn(group, operations);
    go_on(group, faults);
  }

  void spawn(TaskGroup& group, int operations) {
    for (const auto& application : applications_)
      group.spawn(world_.loop.executor(), application->run(operations));
  }

  void go_on(TaskGroup& group, bool faults) {
    try {
      while (group.size() > 0) {
        world_.loop.run_for(world_.some(200ms));
        if (faults && group.size() > 0) plan_.next(kFaults);
      }
    } catch (...) {  // a site does not start any more, say: that is to be told, not what it leaves running
      world_.loop.run_until_done(group.stop());
      throw;
    }
  }

  // --- faults

  void look(Random&) {
    if (!log_has_all_) return;
    auto found = world_.differences_from_a_moment();
    if (found) report_.found(std::move(*found));
  }

  void reset(Random&) { world_.network.reset("east", "west"); }

  void partition(Random& random) {
    world_.network.partition("east", "west");
    world_.loop.run_for(some(random, random.below(8) == 0 ? 60s : 2s));
    world_.network.heal("east", "west");
  }

  void partition_one_way(Random& random) {
    const bool there = random.below(2) == 0;
    const std::string from = there ? "east" : "west", to = there ? "west" : "east";
    world_.network.block(from, to);
    world_.loop.run_for(some(random, 5s));
    if (random.below(2) == 0) world_.network.reset("east", "west");
    world_.network.unblock(from, to);
  }

  void delay(Random& random) {
    const auto least = 50us + some(random, 100ms);
    world_.network.set_delay(least, least + some(random, 50ms));
  }

  void kill(Random& random) {
    auto& site = any_site(random);
    site.kill();
    world_.loop.run_for(some(random, 2s));
    site.boot();
  }

  /// At a system call of its own, whatever it is doing then.
  void die(Random& random) {
    auto& site = any_site(random);
    site.run_until_death(1 + random.below(300));
    site.kill();
    world_.loop.run_for(some(random, 2s));
    site.boot();
  }

  /// A call fails, the daemon goes on for a while with what it makes of that, then the power goes.
  void fail_call(Random& random) {
    auto& disk = world_.west.fail_call(random, false);
    disk.heal();  // not at the start, which would not be tried again
    world_.west.lose_power(random.next());
    world_.west.boot();
  }

  void lose_power(Random& random) { lose_power_of(world_.west, random); }
  void lose_power_of_primary(Random& random) { lose_power_of(world_.east, random); }

  void lose_power_of(SimSite& site, Random& random) {
    if (random.below(2) == 0) site.run_until_death(1 + random.below(300));
    site.lose_power(random.next());
    world_.loop.run_for(some(random, 2s));
    site.boot();
  }

  void fill_west(Random& random) {
    world_.west.brick_disk().set_capacity(1 + random.below(2'000'000));
    world_.loop.run_for(some(random, 5s));
    world_.west.brick_disk().set_capacity(0);
    world_.loop.run_for(some(random, 10s));
    // What a brick's error may ask the admin to do: a change was logged, then there was no room even to undo
    // it.
    if (std::string(world_.status(world_.west).at("reason").as_string()).contains("restart its daemon")) {
      world_.west.kill();
      world_.west.boot();
    }
  }

  void pause(Random& random) {
    world_.east.call("POST", "/v1/volumes/data/georep/pause");
    world_.loop.run_for(some(random, 5s));
    world_.start_session();
  }

  void trim_log(Random& random) {
    if (log_has_all_) return;  // it is to be compared
    world_.network.partition("east", "west");
    world_.loop.run_for(some(random, 1s));
    world_.trim_log();
    if (random.below(2) == 0) world_.network.reset("east", "west");
    world_.network.heal("east", "west");
  }

  /// With its file system go its snapshots.
  void wipe(Random&) {
    for (const auto& name : world_.west.snapshots()) world_.west.remove_snapshot(name);
    world_.west.wipe_brick();
  }

  /// Takes a snapshot of the secondary, or goes back to the one that there is.
  void restore(Random& random) {
    constexpr const char* kName = "earlier";
    auto& west = world_.west;
    if (west.snapshots().empty()) {
      west.create_snapshot(kName);
      return;
    }
    west.call("POST", "/v1/volumes/data/stop");
    const auto replaced = west.restore_snapshot(kName);
    west.call("POST", "/v1/volumes/data/start");
    west.remove_snapshot(replaced);
    if (random.below(2) == 0) west.remove_snapshot(kName);
  }

  void set_clock(Random& random) { any_site(random).clock().set_wall_skew(some(random, 20s)); }

  FaultPlan::Kind kind(std::string_view name, std::uint64_t weight, void (GeorepRun::*happen)(Random&)) {
    return {name, weight, [this, happen](Random& random) { (this->*happen)(random); }};
  }

  const std::vector<FaultPlan::Kind> kFaults{
      kind("look", 4, &GeorepRun::look),
      kind("reset", 4, &GeorepRun::reset),
      kind("partition", 4, &GeorepRun::partition),
      kind("one-way", 4, &GeorepRun::partition_one_way),
      kind("delay", 2, &GeorepRun::delay),
      kind("kill", 4, &GeorepRun::kill),
      kind("die", 6, &GeorepRun::die),
      kind("full", 2, &GeorepRun::fill_west),
      kind("pause", 2, &GeorepRun::pause),
      kind("clock", 1, &GeorepRun::set_clock),
      kind("power", 4, &GeorepRun::lose_power),
      kind("fail-call", 2, &GeorepRun::fail_call),
      kind("power-primary", 4, &GeorepRun::lose_power_of_primary),
      kind("trim-log", 2, &GeorepRun::trim_log),
      kind("wipe", 1, &GeorepRun::wipe),
      kind("restore-secondary", 2, &GeorepRun::restore),
  };

  SimWorld world_;
  std::unique_ptr<Random> random_;
  const bool log_has_all_;  // each byte that is written: what any moment was can be read there
  FaultPlan plan_;
  std::vector<std::unique_ptr<Application>> applications_;
  RunReport report_;
};

}  // namespace

RunReport run_georep(const RunOptions& options) {
  return GeorepRun(options).run();
}

}  // namespace polder
