// SPDX-License-Identifier: GPL-3.0-or-later
// A volume of one set, of three, and of three whose files spread, does what every volume does.
#include "core-volume/graph/volume_stack_test_support.h"
#include "core-volume/layer/conformance/conformance.h"

namespace polder {
namespace {

template <std::uint32_t sets, Spread spread>
class Sets : public SimVolume {
 public:
  Sets() : SimVolume(sets, spread) {}
};

// Records of another site are for volumes of one set so far.
INSTANTIATE_TEST_SUITE_P(
    Volumes, Conformance,
    testing::Values(conformance_target<Sets<1, Spread::kAuto>>("one_set", {.locks = true}),
                    conformance_target<Sets<3, Spread::kAuto>>("three_sets",
                                                               {.replay = false, .locks = true}),
                    conformance_target<Sets<3, Spread::kFiles>>("three_sets_files_spread",
                                                                {.replay = false, .locks = true})),
    conformance_name);

}  // namespace
}  // namespace polder
