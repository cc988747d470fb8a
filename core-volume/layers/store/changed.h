// SPDX-License-Identifier: GPL-3.0-or-later
// Which objects of a brick have changed since a time, by what they say of themselves: for a start after a
// power loss, which finds what the log does not tell of. While nothing changes.
//
// An object has changed when its ctime is later, or the file system's own ctime of its inode is: that one
// belongs to the same journal entry as the change. Both are compared with a margin, since the kernel's clock
// of file times is a few milliseconds behind.
#pragma once
#include <string>
#include <vector>

#include "base/gfid.h"

namespace polder {

struct Changed {
  std::vector<Gfid> objects;  // sorted
  std::uint64_t looked_at = 0;

  bool contains(const Gfid& gfid) const;
};

/// The names of a directory of this brick.
struct ListedName {
  std::string name;
  Gfid gfid;
  std::uint32_t type = 0;  // S_IFMT
  bool recent = false;     // given since then, as far as the entry itself tells
};

}  // namespace polder
