// SPDX-License-Identifier: GPL-3.0-or-later
// The name somebody probably meant.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace polder {

/// The candidate with the fewest edits from `word`, or empty when none is close (more than a third of it).
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace polder
