// SPDX-License-Identifier: GPL-3.0-or-later
// For tests that try several seeds: a failure says which one it was.
#pragma once
#include <gtest/gtest.h>

#include <functional>

#include "tests/sim/sim_world.h"
#include "tests/support/seeds.h"

namespace polder {

/// Until one fails; what `body` throws is a failure.
inline void for_each_seed(Seeds seeds, const std::function<void(std::uint64_t seed)>& body) {
  log_only_what_was_asked_for();
  for (auto seed : seeds) {
    SCOPED_TRACE(fmt::format("to repeat: POLDER_SIM_SEED={} (and POLDER_SIM_LOG=info)", seed));
    try {
      body(seed);
    } catch (const std::exception& failure) {
      ADD_FAILURE() << failure.what();
    }
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace polder
