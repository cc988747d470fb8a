// SPDX-License-Identifier: GPL-3.0-or-later
// A digest of one object: what both sites must have the same at the same position. Content, type, mode,
// owner, device, mtime, target, xattrs and ACLs; of a directory its names and what they show. Not atime, and
// nothing of one brick's own.
#pragma once
#include <optional>
#include <string>

#include "core-volume/layers/store/store.h"

namespace polder::georep {

/// 16 bytes; nullopt when the object is gone: also when only its last name is, and it stays until nobody has
/// it open and its removal is in the log for certain. Reads the whole file. Blocks: call on a worker.
Result<std::optional<std::string>> digest_object(Store& store, const Gfid& gfid);

}  // namespace polder::georep
