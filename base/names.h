// SPDX-License-Identifier: GPL-3.0-or-later
// The one rule for names of directory entries. Everybody who takes a name from a caller, the network or a
// record checks it with this.
#pragma once
#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace polder {

constexpr std::size_t kNameMax_bytes = 255;

/// One path component: 1..255 bytes, neither "." nor "..", without '/' and NUL; any other byte, UTF-8 or not.
/// ENAMETOOLONG when longer, EINVAL otherwise.
Result<void> check_name(std::string_view name);

}  // namespace polder
