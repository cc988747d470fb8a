// SPDX-License-Identifier: GPL-3.0-or-later
// Two machines with clocks of their own, seconds apart and jumping, a volume on each; programs that use both.
// Whatever a program has done or seen comes before what it does next, wherever that is: the stamps of their
// records say so (invariant 9), since each request carries the highest one that its client knows. So "all
// records up to a time" is a causal cut of both. (The sets of one volume have one daemon, and one clock.)
#include <gtest/gtest.h>

#include "core-volume/admin/join.h"
#include "core-volume/rpc/client.h"
#include "tests/sim/each_seed.h"
#include "tests/sim/fault_plan.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

/// One process that has both volumes mounted.
class Program {
 public:
  Program(SimLoop& loop, SimNetwork& network, const std::string& name, std::uint64_t seed,
          std::vector<SimSite*> sites, nanoseconds skew)
      : loop_(loop),
        clock_(loop.clock(), skew),
        random_(make_seeded_random(seed)),
        disk_(&clock_),
        process_(clock_, *random_, disk_, network.transport(name)) {
    for (SimSite* site : sites) mounts_.push_back(mount(*site, name));
  }
  ~Program() {
    for (const auto& mount : mounts_) loop_.run_until_done(mount->stop());
  }
  FileOps& on(std::size_t site) { return *mounts_[site]; }

  Hlc known;  // of what it did or saw

 private:
  std::unique_ptr<RpcClient> mount(SimSite& site, const std::string& name) {
    auto made = site.call("POST", "/v1/cluster/token", {{"role", "client"}, {"volume", kSimVolume}});
    auto token = must(JoinToken::parse(std::string(made.at("token").as_string())));
    auto membership = must(loop_.run_until_done(join_cluster(*process_.seams, std::move(token), name)));
    RpcClientOptions options;
    for (const auto& address : membership.addresses)
      options.endpoints.push_back(must(Endpoint::parse(address)));
    options.identity = membership.identity();
    options.volume = kSimVolume;
    options.client_name = name;
    auto client = std::make_unique<RpcClient>(*process_.seams, loop_.executor(), std::move(options));
    must(loop_.run_until_done(client->start()));
    return client;
  }

  SimLoop& loop_;
  SkewedClock clock_;
  std::unique_ptr<Random> random_;
  SimDisk disk_;
  SimProcess process_;
  std::vector<std::unique_ptr<RpcClient>> mounts_;
};

class TwoClocks {
 public:
  explicit TwoClocks(std::uint64_t seed)
      : openssl_(seed),
        network_(loop_.clock(), seed, nullptr),
        random_(make_seeded_random(seed)),
        north_(loop_, network_, "north", random_->next(), {.skew = some(*random_, 20s)}),
        south_(loop_, network_, "south", random_->next(), {.skew = some(*random_, 20s)}) {
    for (auto* site : sites_) site->found_cluster();
    for (int i = 0; i < 3; ++i) {
      programs_.push_back(std::make_unique<Program>(loop_, network_, fmt::format("client{}", i),
                                                    random_->next(), sites_, some(*random_, 20s)));
    }
  }

  void step() {
    auto& program = *programs_[random_->below(programs_.size())];
    const auto at = random_->below(sites_.size());
    const auto name = fmt::format("n{}", random_->below(4));
    const auto what = random_->below(20);
    if (what == 0) {
      sites_[at]->clock().set_wall_skew(some(*random_, 20s));
    } else if (what == 1) {
      sites_[at]->kill();
      sites_[at]->boot();
    } else if (what < 10) {
      look(program, at, name);
    } else {
      change(program, at, name);
    }
    loop_.run_for(some(*random_, 10ms));
  }

  int crossings() const { return crossings_; }

 private:
  void look(Program& program, std::size_t at, const std::string& name) {
    if (!loop_.run_until_done(program.on(at).lookup({}, Gfid::root(), name))) return;
    program.known = std::max(program.known, made_[at].at(name));
  }

  /// The name shows a new directory, or none.
  void change(Program& program, std::size_t at, const std::string& name) {
    const bool there = made_[at].contains(name);
    auto& ops = program.on(at);
    if (there) {
      must(loop_.run_until_done(ops.rmdir({}, Gfid::root(), name)));
      made_[at].erase(name);
    } else {
      must(loop_.run_until_done(ops.mkdir({}, Gfid::root(), name, {.mode = 0755})));
    }
    const auto stamp = last_stamp(*sites_[at]);
    EXPECT_GT(stamp.ns, program.known.ns) << name << " on " << sites_[at]->name();
    crossings_ += wall_behind(at, program.known);
    program.known = stamp;
    if (!there) made_[at][name] = stamp;
  }

  /// Whether the machine's own clock would not have been enough.
  bool wall_behind(std::size_t at, Hlc known) {
    return static_cast<std::uint64_t>(sites_[at]->clock().wall_time().count()) < known.ns;
  }

  static Hlc last_stamp(SimSite& site) {
    auto& log = site.brick().journal();
    return must(must(log.read_from(log.appended_index(), true))->next())->hlc;
  }

  SeededOpenssl openssl_;
  SimLoop loop_;
  SimNetwork network_;
  std::unique_ptr<Random> random_;
  SimSite north_, south_;
  std::vector<SimSite*> sites_{&north_, &south_};
  std::vector<std::unique_ptr<Program>> programs_;
  std::map<std::size_t, std::map<std::string, Hlc>> made_;  // by site
  int crossings_ = 0;
};

TEST(Causality, WhatAProgramHasDoneOrSeenIsBeforeWhatItDoes) {
  int crossings = 0;
  for_each_seed(seeds(2, 100), [&](std::uint64_t seed) {
    TwoClocks world(seed);
    for (int i = 0; i < 120 && !testing::Test::HasFailure(); ++i) world.step();
    crossings += world.crossings();
  });
  EXPECT_GT(crossings, 20) << "a test of nothing";
}

}  // namespace
}  // namespace polder
