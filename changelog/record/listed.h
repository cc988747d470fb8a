// SPDX-License-Identifier: GPL-3.0-or-later
// What a kListed record says: of the names after `after`, up to `upto` (in byte order; an empty `upto` is the
// end of all names), the directory has exactly these. A large directory takes several records, each of which
// stands for itself.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changelog/record/record.h"

namespace polder {

struct Listed {
  std::string after;
  std::string upto;
  std::vector<std::string> names;  // sorted; each within the range

  bool covers(std::string_view name) const { return name > after && (upto.empty() || name <= upto); }
};

/// One record at least, also of no names. `names` are all that the directory has. Times are the caller's.
std::vector<Record> listed_records(const Gfid& directory, std::vector<std::string> names);

/// EINVAL when the record is of another kind, or its names are no names, not sorted, or outside of its range.
Result<Listed> listed_of(const Record& record);

}  // namespace polder
