// SPDX-License-Identifier: GPL-3.0-or-later
// What bricks know of a moment, for the report of a failure that will not come again.
#pragma once
#include <string>

#include "core-volume/graph/volume_stack.h"

namespace polder {

/// The names in a brick that nothing has started yet, with what they show, and Polder's notes of names.
std::string names_on_disk(const std::string& brick);
/// The records of each set's log, a line each. Data changes are left out.
std::string records_of(const VolumeStack& stack);

}  // namespace polder
