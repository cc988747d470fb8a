// SPDX-License-Identifier: GPL-3.0-or-later
// Which slots Placement::choose_slot() gives for a set.
#pragma once
#include <cstdint>
#include <vector>

#include "core-volume/layer/placement.h"

namespace polder {

/// The first of its slots; they stay the same while the set loses others.
std::vector<std::uint16_t> slots_for_new_objects(const Placement& placement, std::uint32_t set);

}  // namespace polder
