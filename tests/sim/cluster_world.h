// SPDX-License-Identifier: GPL-3.0-or-later
// ClusterWorld: a site with a volume of one or several bricks, and machines that have it mounted: each a
// client with its cache, as mount.polder has them. A function of its seed.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core-volume/client/cache/cache_layer.h"
#include "core-volume/graph/slot_plan.h"
#include "core-volume/rpc/client.h"
#include "tests/sim/sim_site.h"
#include "tests/support/seeded_openssl.h"

namespace polder {

/// A machine of its own, joined by a token, with the volume mounted.
class SimMount {
 public:
  SimMount(SimLoop& loop, SimNetwork& network, SimSite& site, std::string name, std::uint64_t seed,
           nanoseconds skew);
  ~SimMount();

  FileOps& ops() { return *cache_; }
  const RpcClient& client() const { return *client_; }
  const std::string& name() const { return name_; }
  SkewedClock& clock() { return clock_; }

 private:
  SimLoop& loop_;
  const std::string name_;
  SkewedClock clock_;
  std::unique_ptr<Random> random_;
  SimDisk disk_;
  SimProcess process_;
  std::unique_ptr<RpcClient> client_;
  std::unique_ptr<CacheLayer> cache_;
};

struct ClusterOptions {
  std::uint32_t bricks = 1;
  Spread spread = Spread::kDirs;
  std::size_t mounts = 3;
  bool small_segments = false;
};

struct ClusterWorld {
  ClusterWorld(std::uint64_t seed, ClusterOptions options);

  nanoseconds some(nanoseconds most) {
    return nanoseconds(random->below(static_cast<std::uint64_t>(most.count()) + 1));
  }

  SeededOpenssl openssl;
  SimLoop loop;
  Trace trace;
  SimNetwork network;
  std::unique_ptr<Random> random;
  SimSite site;
  std::vector<std::unique_ptr<SimMount>> mounts;
};

}  // namespace polder
