// SPDX-License-Identifier: GPL-3.0-or-later
// Store: objects without a name that live on because somebody has them open. An empty file in .polder/orphans
// names each, so that a start finds them without looking at every object.
#include <algorithm>

#include "core-volume/layers/store/store.h"

namespace polder {

Result<bool> Store::is_orphan(const Gfid& gfid) {
  auto found = disk_.stat(orphans_.fd(), gfid.hex());
  if (found.failed_with(ENOENT)) return false;
  if (!found) return std::move(found).error();
  return true;
}

Result<std::vector<Gfid>> Store::orphans() {
  TRY(auto entries, disk_.list(orphans_.fd()));
  std::vector<Gfid> gfids;
  for (const auto& entry : entries) {
    auto gfid = Gfid::parse(entry.name);
    if (!gfid) return std::move(gfid).error().with("{}/{}", layout::kOrphans, entry.name);
    gfids.push_back(*gfid);
  }
  std::ranges::sort(gfids);
  return gfids;
}

/// Before the name goes: a kill in between leaves a marker of an object that has names, which reap() sees.
Result<void> Store::mark_orphan(const Gfid& gfid) {
  TRY(disk_.open(orphans_.fd(), gfid.hex(), O_WRONLY | O_CREAT | O_NOFOLLOW, 0600)
          .with("mark orphan {}", gfid.hex()));
  return {};
}

Result<void> Store::unmark_orphan(const Gfid& gfid) {
  auto removed = disk_.unlink(orphans_.fd(), gfid.hex());
  if (removed.failed_with(ENOENT)) return {};
  return std::move(removed).with("unmark orphan {}", gfid.hex());
}

/// Before a directory gets a name: by an older record, as a rule, after a power loss took the one that had
/// removed it from the log. A file's links tell that it has a name.
Result<void> Store::named_again(const Gfid& gfid) {
  if (!is_orphan_directory(gfid)) return {};
  TRY(unmark_orphan(gfid));
  set_orphan_directory(gfid, false);
  return {};
}

Result<void> Store::reap(const Gfid& gfid) {
  TRY(refuse_if_read_only());
  auto lock = stripes_.exclusive({Stripes::object(gfid)});
  auto object = locate(gfid);
  if (!object && !object.failed_with(ESTALE)) return std::move(object).error();
  if (object && object->is(S_IFDIR)) {
    if (is_orphan_directory(gfid)) {
      TRY(remove_directory(gfid));
    }
    set_orphan_directory(gfid, false);
  } else if (object && object->native.st_nlink == 1) {
    TRY(remove_index_link(gfid));
  }
  return unmark_orphan(gfid);
}

/// A marked directory that still has its entry was killed on its way: redoing its record removes the entry.
Result<void> Store::load_orphan_directories() {
  TRY(auto marked, orphans());
  for (const auto& gfid : marked)
    if (disk_.stat(dirs_.fd(), gfid.hex())) set_orphan_directory(gfid, true);
  return {};
}

bool Store::is_orphan_directory(const Gfid& gfid) {
  std::lock_guard lock(orphans_mutex_);
  return orphan_directories_.contains(gfid);
}

void Store::set_orphan_directory(const Gfid& gfid, bool orphan) {
  std::lock_guard lock(orphans_mutex_);
  if (orphan)
    orphan_directories_.insert(gfid);
  else
    orphan_directories_.erase(gfid);
}

}  // namespace polder
