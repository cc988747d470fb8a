// SPDX-License-Identifier: GPL-3.0-or-later
// Extended attributes in which the file systems of bricks show their own state. For users of the volume they
// are not there: what they say is said by other attributes, and a volume is the same on every file system.
#pragma once
#include <string_view>

namespace polder {

/// Where XFS keeps ACLs. `rsync -X` removes attributes that its source does not have: these would take the
/// ACLs along.
constexpr bool is_brick_acl(std::string_view key) {
  return key == "trusted.SGI_ACL_FILE" || key == "trusted.SGI_ACL_DEFAULT";
}

}  // namespace polder
