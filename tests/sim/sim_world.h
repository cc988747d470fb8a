// SPDX-License-Identifier: GPL-3.0-or-later
// SimWorld: two sites, east and west, and a mount on east; geo-replication from east to west. A function of
// its seed.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/concurrency.h"
#include "core-volume/rpc/client.h"
#include "tests/sim/sim_site.h"
#include "tests/support/seeded_openssl.h"

namespace polder {

/// To standard error, at the level that POLDER_SIM_LOG names; else nothing.
void log_only_what_was_asked_for();
/// Runs `body` for each seed, or for that of POLDER_SIM_SEED alone. A failure says which seed it was.
void for_each_seed(std::uint64_t first, int count, const std::function<void(std::uint64_t seed)>& body);

struct SimWorld {
  explicit SimWorld(std::uint64_t seed);
  ~SimWorld();

  /// Pairs the two volumes by a token, as the README does it.
  void pair();
  void start_session();
  /// Everything that was acknowledged on east is on west when it returns.
  void checkpoint();
  json::object status(SimSite& site);  // of the session

  /// Both sites' volumes, whole, by their texts.
  void expect_equal();
  /// West is alone for a while, and then shows east as it was at the position that west says it has applied:
  /// one of the ends of cuts. Nothing is compared before west has been exact for the first time; true when
  /// it was.
  bool expect_prefix();

  nanoseconds some(nanoseconds most) {
    return nanoseconds(random->below(static_cast<std::uint64_t>(most.count())));
  }

  SeededOpenssl openssl;
  SimLoop loop;
  Trace trace;
  SimNetwork network;
  std::unique_ptr<Random> random;
  SimSite east, west;
  TaskGroup tasks{"applications"};

 private:
  SimProcess mount_process_;

 public:
  RpcClient mount;
};

/// A test failure that names the first lines that differ.
void expect_same_volume(const std::vector<std::string>& expected, const std::vector<std::string>& actual,
                        std::string_view what);

}  // namespace polder
