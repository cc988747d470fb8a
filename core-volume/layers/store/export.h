// SPDX-License-Identifier: GPL-3.0-or-later
// Export: the whole tree of a volume out of its brick directories alone, without any daemon: `polder brick
// export BRICK... DEST`, and the proof that a brick is plain files.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/disk.h"

namespace polder {

struct ExportReport {
  std::uint64_t directories = 0;
  std::uint64_t files = 0;  // everything else, each once
  std::uint64_t links = 0;  // further names of them
  std::uint64_t bytes = 0;  // copied; holes are not
  /// Paths of what is on a brick that was not given; a directory stands for all below it.
  std::vector<std::string> missing;
  std::vector<std::uint32_t> sets;  // that were given
};

/// Copies the tree under the volume's root to `destination`, with hard links, owners, modes, times, xattrs
/// (but none of Polder's), ACLs and holes. `bricks`: every set's brick (one of each is enough); all of one
/// volume, else EINVAL. Without one of them the rest is exported; the root's is needed (ENOENT). The
/// destination is created, or empty (ENOTEMPTY), and outside of the bricks (EINVAL). EBUSY while a daemon has
/// a brick. Blocks.
Result<ExportReport> export_bricks(Disk& disk, const std::vector<std::string>& bricks,
                                   const std::string& destination);

}  // namespace polder
