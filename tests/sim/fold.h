// SPDX-License-Identifier: GPL-3.0-or-later
// fold: a volume made of its changelogs alone, by the model of a volume.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "changelog/journal/journal.h"
#include "tests/support/loop.h"

namespace polder {

/// Client::dump() of what the logs of all its sets say, up to record `last` of each. They must reach back to
/// the first record, and have all data in them.
std::vector<std::string> fold_logs(SimLoop& loop, Clock& clock, const std::vector<Journal*>& logs,
                                   std::uint64_t last = UINT64_MAX);

/// One sentence with the first lines of two dumps that differ, or none.
std::vector<std::string> differing_lines(const std::vector<std::string>& expected,
                                         const std::vector<std::string>& actual, std::string_view what);

}  // namespace polder
