// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a volume of several sets is whole, by what is on its bricks: every name shows an object, every
// object has its names, link counts are right, every directory is reached from the root once. For volumes at
// rest, with nothing open.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core-volume/layers/store/store.h"

namespace polder {

/// One sentence a problem.
std::vector<std::string> volume_problems(const std::map<std::uint32_t, Store*>& sets,
                                         const Placement& placement);

}  // namespace polder
