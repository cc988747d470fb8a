// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/cluster_world.h"

#include "core-volume/admin/join.h"

namespace polder {

namespace {

using namespace std::chrono_literals;

}  // namespace

SimMount::SimMount(SimLoop& loop, SimNetwork& network, SimSite& site, std::string name, std::uint64_t seed,
                   nanoseconds skew)
    : loop_(loop),
      name_(std::move(name)),
      clock_(loop.clock(), skew),
      random_(make_seeded_random(seed)),
      disk_(&clock_),
      process_(clock_, *random_, disk_, network.transport(name_)) {
  auto made = site.call("POST", "/v1/cluster/token", {{"role", "client"}, {"volume", kSimVolume}});
  auto token = must(JoinToken::parse(std::string(made.at("token").as_string())));
  auto membership = must(loop.run_until_done(join_cluster(*process_.seams, std::move(token), name_)));
  RpcClientOptions options;
  for (const auto& address : membership.addresses)
    options.endpoints.push_back(must(Endpoint::parse(address)));
  options.identity = membership.identity();
  options.volume = kSimVolume;
  options.client_name = name_;
  client_ = std::make_unique<RpcClient>(*process_.seams, loop.executor(), std::move(options));
  must(loop.run_until_done(client_->start()));
  cache_ = std::make_unique<CacheLayer>(*client_, *client_);
}

SimMount::~SimMount() {
  loop_.run_until_done(client_->stop());
}

ClusterWorld::ClusterWorld(std::uint64_t seed, ClusterOptions options)
    : openssl(seed),
      trace(loop.clock()),
      network(loop.clock(), seed, &trace),
      random(make_seeded_random(seed)),
      site(loop, network, "site", random->next(),
           {.bricks = options.bricks,
            .skew = some(1s),
            .small_segments = options.small_segments,
            .trace = &trace}) {
  site.found_cluster();
  if (options.bricks > 1) {
    site.call("POST", "/v1/volumes/data/options",
              {{"key", "distribute.spread"}, {"value", std::string(to_string(options.spread))}});
  }
  for (std::size_t i = 0; i < options.mounts; ++i)
    mounts.push_back(std::make_unique<SimMount>(loop, network, site, fmt::format("client{}", i),
                                                random->next(), some(1s)));
}

}  // namespace polder
