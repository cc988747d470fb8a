// SPDX-License-Identifier: GPL-3.0-or-later
// NameIn: a name in a directory, for as long as the operation that brought it. (EntryName of a record has its
// own text.)
#pragma once
#include <string_view>

#include "base/gfid.h"

namespace polder {

struct NameIn {
  Gfid parent;
  std::string_view name;
  bool operator==(const NameIn&) const = default;
};

}  // namespace polder
