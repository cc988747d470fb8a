// SPDX-License-Identifier: GPL-3.0-or-later
// Which slots a new set gets. Pure.
#pragma once
#include <map>
#include <vector>

#include "core-volume/layer/placement.h"

namespace polder {

/// `table` with about an equal share for `newcomer`: each of the other sets gives its part of it, as far as
/// it has slots that are not `taken`; sets that are not named in it give none. Long runs go first, which
/// keeps the table short. ENOSPC when nothing can be given.
Result<SlotRuns> give_slots(const SlotRuns& table, const std::map<std::uint32_t, std::vector<bool>>& taken,
                            std::uint32_t newcomer);
/// How many slots each set has.
std::map<std::uint32_t, std::size_t> slots_by_set(const SlotRuns& table);

}  // namespace polder
