// SPDX-License-Identifier: GPL-3.0-or-later
// How long a start may believe what the page cache shows of a brick.
//
// After kill -9 the page cache has all that was written, and a sync makes it durable. Not so after a sync
// that failed: Linux then takes the pages for clean. They are shown until they are evicted, the next sync
// says OK, and the disk never had them. So a failed sync of a brick counts as a loss of its power: from then
// on the brick takes no changes, and the next start does what it does under another kernel (journal.h,
// store.h). What the page cache still shows it writes once more, so that nothing that was read is lost later.
//
// Which start that is tells the id of the brick's page cache: that of the running kernel, and how often a
// sync of this brick has failed under it. The number is kept in /run, which is in memory: the disk that fails
// may not take a note; it outlives the process and goes with the page cache. It is the size of a file that
// takes no room, since a full /run may refuse bytes.
#pragma once
#include <string>

#include "base/disk.h"
#include "base/gfid.h"

namespace polder {

/// The brick of this set of this lineage.
struct PageCacheOf {
  Gfid lineage;
  std::uint32_t set = 0;
};

struct PageCache {
  std::string id;            // at most 40 bytes; the kernel's boot id as long as no sync has failed
  bool sync_failed = false;  // under this kernel: what is shown may not be on the disk, synced or not
};
Result<PageCache> page_cache(Disk& disk, const PageCacheOf& brick);
/// A sync has failed: the id is another one from now on. Logs an error when this cannot be noted: nothing is
/// left to do then.
void distrust_page_cache(Disk& disk, const PageCacheOf& brick);

/// Writes what the file has between these two places once more, so that the next sync of it takes that to the
/// disk, whatever became of it before. Holes stay.
Result<void> write_again(Disk& disk, int fd, std::uint64_t begin, std::uint64_t end);

}  // namespace polder
