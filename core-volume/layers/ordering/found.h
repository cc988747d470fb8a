// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer::Found: what a power loss has kept and its record it has not. A change is applied before its
// record is stable, and the file system writes its own journal when it likes: so it may be ahead of the log,
// and who follows the log would never hear of it.
//
// A start after a power loss therefore looks at every object (store/changed.h), before it changes anything.
// When the log's tail has been done again it logs each that has changed since the log's last record, as it is
// now (invariant 6); and each file that the tail has made or written, since bytes may be newer than what
// their inode says. Between kFoundBegin and kFoundEnd first the objects (start_log.h), then names, then for
// each directory which names it has (kListed), then the directories' times.
//
// Of a file of which the file system wrote pages and not yet the inode no time tells: such a file is one of
// the tail, see told_files.h.
//
// Only where somebody follows the log: the look takes some seconds per million objects. A mark on the brick,
// durable before the first record of the start, says from when on the log has gaps; so a start that ends
// early, or that has no room for these records, leaves the work to the next one.
//
// On a worker, before anything else runs.
#pragma once
#include <map>
#include <optional>
#include <set>

#include "core-volume/layers/ordering/start_log.h"
#include "core-volume/layers/store/changed.h"

namespace polder {

class OrderingLayer::Found {
 public:
  explicit Found(OrderingLayer& layer)
      : store_(layer.store_),
        journal_(layer.journal_),
        records_(layer),
        single_set_(!layer.placement_ || layer.placement_->sets().size() == 1) {}
  /// Before the redo.
  Result<void> look();
  /// Whether there is anything to do after the redo. Then what is doubtful (doubtful.cc) is a part of it.
  bool looked() const { return changed_.has_value(); }
  void add_file(const Gfid& gfid);
  /// EIO and the like; that there is no room is not an error.
  Result<void> log();

 private:
  struct Directory {
    ObjectState state;
    timespec ctime{};
    std::vector<ListedName> names;
  };

  Result<bool> is_followed();
  Result<Hlc> last_hlc();
  Result<void> log_all();
  Result<void> log_object(const Gfid& gfid);
  Result<void> log_links(const Gfid& gfid, const Directory& directory);
  Result<void> log_listing(const Gfid& gfid, const Directory& directory);
  Result<void> log_border(RecordKind kind);

  Store& store_;
  Journal& journal_;
  StartLog records_;
  const bool single_set_;
  std::uint64_t since_ns_ = 0;
  std::optional<Changed> changed_;  // none: there is nothing to do
  std::set<Gfid> files_;            // besides
  std::map<Gfid, Directory> directories_;
};

}  // namespace polder
