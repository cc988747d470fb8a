// SPDX-License-Identifier: GPL-3.0-or-later
// The whole brick does what every volume does; on the simulated disk.
#include "core-volume/graph/brick_test_support.h"
#include "core-volume/layer/conformance/conformance.h"

namespace polder {
namespace {

INSTANTIATE_TEST_SUITE_P(Bricks, Conformance,
                         testing::Values(conformance_target<SimBrick>("sim_brick", {.locks = true})),
                         conformance_name);

}  // namespace
}  // namespace polder
