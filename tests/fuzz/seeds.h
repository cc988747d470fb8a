// SPDX-License-Identifier: GPL-3.0-or-later
// Inputs that real encoders make, for the targets whose corpus is binary.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace polder::fuzz {

/// File names and contents; none for targets whose corpus is text that was written by hand.
std::vector<std::pair<std::string, std::string>> seeds_of(const std::string& target);

}  // namespace polder::fuzz
