// SPDX-License-Identifier: GPL-3.0-or-later
// What transactions were under way when bricks stopped: finished or taken back, before the sets serve. Again
// whenever a brick that was away comes back.
#pragma once
#include <map>

#include "core-volume/layer/set_peer.h"

namespace polder {

/// `sets`: those that run. Oldest first each decision, also one that only other sets' logs have kept, is
/// decided once more if need be and given to all that have a part; what nobody has decided is dropped. Sets
/// that do not run are asked when they do; what has to wait for them waits, and nothing else does.
Task<Result<void>> resolve_transactions(const std::map<std::uint32_t, SetPeer*>& sets);

}  // namespace polder
