// SPDX-License-Identifier: GPL-3.0-or-later
// SimWorld: two sites, east and west, and a mount on east; geo-replication from east to west. A function of
// its seed.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/concurrency.h"
#include "core-volume/rpc/client.h"
#include "tests/sim/sim_site.h"
#include "tests/support/seeded_openssl.h"

namespace polder {

/// To standard error, at the level that POLDER_SIM_LOG names; else nothing.
void log_only_what_was_asked_for();
struct SimWorld {
  explicit SimWorld(std::uint64_t seed, bool small_segments = false);
  ~SimWorld();

  /// Pairs the two volumes by a token, as the README does it.
  void pair();
  void start_session();
  /// Everything that was acknowledged on east is on west when it returns.
  void checkpoint();
  json::object status(SimSite& site);  // of the session
  /// East's log keeps next to nothing, as if its cap had been reached while west was away.
  void trim_log();

  // What is wrong, in sentences.

  /// Both sites' volumes are compared whole, by their texts.
  std::vector<std::string> differences();
  /// West is alone for a while, and then must show east as it was at the position that west says it has
  /// applied: one of the ends of cuts. nullopt: nothing is compared before west has been exact for the first
  /// time.
  std::optional<std::vector<std::string>> differences_from_a_moment();
  /// East's log, folded from its beginning, must give east's volume.
  std::vector<std::string> differences_from_the_log();

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

}  // namespace polder
