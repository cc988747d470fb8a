// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/names.h"

namespace polder {

Result<void> check_name(std::string_view name) {
  if (name.size() > kNameMax_bytes) return Error(ENAMETOOLONG);
  if (name.empty() || name == "." || name == "..") return Error(EINVAL);
  if (name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos)
    return Error(EINVAL);
  return {};
}

}  // namespace polder
