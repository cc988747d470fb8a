// SPDX-License-Identifier: GPL-3.0-or-later
// What transactions were under way when bricks stopped: finished or taken back, before the sets serve. Again
// whenever a brick that was away comes back.
#pragma once
#include <map>

#include "core-volume/layer/set_peer.h"

namespace polder {

/// `sets`: those that run. In this order: decisions that only other sets' logs have kept are decided once
/// more; every set gets its part of every decision, oldest first; what nobody has decided is dropped. Sets
/// that do not run are asked when they do.
Task<Result<void>> resolve_transactions(const std::map<std::uint32_t, SetPeer*>& sets);

}  // namespace polder
