// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/found.h"

#include <algorithm>

#include "base/log.h"
#include "changelog/record/listed.h"
#include "core-volume/layer/no_room.h"

namespace polder {

Result<void> OrderingLayer::Found::look() {
  TRY(auto since, store_.unlogged_since());
  const bool lost_power = !store_.same_boot() && !store_.was_clean();
  if (!since && lost_power) {
    TRY(const bool followed, is_followed());
    if (!followed) return {};
    TRY(const auto last, last_hlc());
    TRY(const auto lead_ns, store_.clock_lead());
    since = last.ns - std::min(last.ns, lead_ns);
    TRY(store_.note_unlogged(*since));
  }
  if (!since) return {};
  since_ns_ = *since;
  log::info("brick {}: looks for changes that a power loss has kept and that its log does not tell of",
            store_.path());
  TRY(changed_, store_.changed_since(since_ns_));
  log::info("brick {}: {} of {} objects have changed since the last record before the power loss",
            store_.path(), changed_->objects.size(), changed_->looked_at);
  return {};
}

/// The layer's own cursor keeps the log for its transactions. Those of a volume of several sets are none to
/// follow yet, and what one of its bricks has kept is compared with the others (graph/reconcile.h).
Result<bool> OrderingLayer::Found::is_followed() {
  if (!single_set_) return false;
  TRY(auto cursors, journal_.cursors());
  return std::ranges::any_of(cursors,
                             [](const Cursor& cursor) { return cursor.name != kTransactionsCursor; });
}

/// 0 when the log has no record.
Result<Hlc> OrderingLayer::Found::last_hlc() {
  const auto last = journal_.appended_index();
  if (last == 0 || last < journal_.first_index()) return Hlc();
  TRY(auto reader, journal_.read_from(last, true));
  TRY(auto record, reader->next());
  return record ? record->hlc : Hlc();
}

void OrderingLayer::Found::add_file(const Gfid& gfid) {
  if (changed_ && !changed_->contains(gfid)) files_.insert(gfid);
}

Result<void> OrderingLayer::Found::log() {
  if (!changed_) return {};
  auto logged = log_all();
  if (!logged && is_no_room(logged.error())) {
    log::error(
        "brick {}: no room to log what a power loss has kept; until there is, and its daemon was started "
        "again, geo-replication may lack it: {}",
        store_.path(), logged.error().message());
    return {};
  }
  TRY(std::move(logged).with("log what the power loss has kept"));
  TRY(journal_.sync());
  return store_.all_logged();
}

Result<void> OrderingLayer::Found::log_all() {
  if (changed_->objects.empty() && files_.empty()) return {};
  TRY(log_border(RecordKind::kFoundBegin));
  for (const auto& gfid : changed_->objects) {
    TRY(log_object(gfid).with("object {}", gfid.hex()));
  }
  for (const auto& gfid : files_) {
    TRY(log_object(gfid).with("object {}", gfid.hex()));
  }
  // A name that an object has before one that it has not: on the way none is without a name.
  for (const auto& [gfid, directory] : directories_) {
    TRY(log_links(gfid, directory));
  }
  for (const auto& [gfid, directory] : directories_) {
    TRY(log_listing(gfid, directory));
  }
  for (const auto& [gfid, directory] : directories_) {
    TRY(records_.state(RecordKind::kSetattr, gfid, directory.state, directory.ctime));
  }
  return log_border(RecordKind::kFoundEnd);
}

Result<void> OrderingLayer::Found::log_object(const Gfid& gfid) {
  auto there = store_.attr(gfid);
  if (there.failed_with(ESTALE)) return {};  // the redo has removed it
  TRY(const auto attr, std::move(there));
  if (attr.nlink == 0) {
    TRY(const bool removed, store_.is_orphan(gfid));  // and is open
    if (removed) return {};
  }
  TRY(auto state, store_.state(gfid));
  TRY(records_.state(RecordKind::kCreate, gfid, state, attr.ctime));
  if (attr.is_directory()) {
    TRY(auto names, store_.names_since(gfid, since_ns_));
    directories_[gfid] = {std::move(state), attr.ctime, std::move(names)};
    return {};
  }
  if (!attr.is_regular()) return {};
  TRY(records_.content(gfid, attr.size, state.mtime, {{0, attr.size}}));
  return records_.state(RecordKind::kSetattr, gfid, state, attr.ctime);
}

/// Those that may be new. They are there already, so nothing changes here.
Result<void> OrderingLayer::Found::log_links(const Gfid& gfid, const Directory& directory) {
  for (const auto& name : directory.names) {
    if (!name.recent && !changed_->contains(name.gfid)) continue;
    auto record = records_.begin(RecordKind::kLink, name.gfid);
    record.time_ns = kNoTime_ns;
    record.name = {gfid, name.name};
    record.tx.mode = name.type;
    TRY(records_.commit(record));
  }
  return {};
}

Result<void> OrderingLayer::Found::log_listing(const Gfid& gfid, const Directory& directory) {
  std::vector<std::string> names;
  for (const auto& name : directory.names) names.push_back(name.name);
  for (auto& listed : listed_records(gfid, std::move(names))) {
    listed.hlc = records_.begin(RecordKind::kListed, gfid).hlc;
    listed.time_ns = kNoTime_ns;
    TRY(records_.commit(listed));
  }
  return {};
}

Result<void> OrderingLayer::Found::log_border(RecordKind kind) {
  auto record = records_.begin(kind, {});
  return records_.commit(record);
}

}  // namespace polder
