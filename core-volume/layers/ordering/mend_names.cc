// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: names after a redo that followed a power loss. A change is applied before its record is
// stable, so the file system may be ahead of the log, and old records then undo a part of what came after
// them. What a name showed before the redo is as good as what the log says, as nobody was told that either is
// safe; but an object must not lose its only name to a redo, nor a name what is at it:
//
// - A name whose object in the log is gone gets back the one that has replaced it.
// - An object that the redo has left without a name gets back the one that it had. If the redo has put
// another
//   object there, and that one has a second name, then a change which no log knows had moved it on: it goes
//   from here. If it has none, the object that lost its name gets one that says what it is.
//
// Not on a geo-replication secondary: every change that its log has lost is in the spool, and is applied
// again. A name given here would be one too many.
#include <algorithm>

#include "base/log.h"
#include "core-volume/layers/ordering/recovery.h"

namespace polder {

/// What the record will say of its names.
Result<void> OrderingLayer::Recovery::note_names(const Record& record) {
  auto note = [&](const EntryName& name, const Gfid& gfid) -> Result<void> {
    if (name.parent.is_nil() || !store_.owns(name.parent)) return {};
    auto [at, is_new] = names_.try_emplace(name);
    at->second.after = gfid;
    if (!is_new) return {};
    auto there = store_.lookup(name.parent, name.name);
    if (there) at->second.before = there->gfid;
    if (!there && !there.failed_with(ENOENT) && !there.failed_with(ESTALE)) return std::move(there).error();
    return {};
  };
  if (record.tx.phase == TxPhase::kPrepared) return {};
  const bool gives = record.kind == RecordKind::kCreate || record.kind == RecordKind::kLink;
  if (gives) return note(record.name, record.gfid);
  if (record.kind == RecordKind::kUnlink) return note(record.name, {});
  if (record.kind != RecordKind::kRename) return {};
  TRY(note(record.name, record.exchange ? record.displaced : Gfid()));
  return note(record.to, record.gfid);
}

/// After the redo.
Result<void> OrderingLayer::Recovery::mend_names() {
  for (const auto& [name, shown] : names_) {
    TRY(keep_replaced(name, shown.before, shown.after).with("keep name \"{}\"", name.name));
  }
  for (const auto& [gfid, name] : lost_) {
    // A name that the redo itself had given says nothing. (Those away from home are not among the names.)
    auto shown = names_.find(name);
    if (shown != names_.end() && shown->second.before != gfid) continue;
    TRY(give_back(gfid, name).with("give {} its name back", gfid.hex()));
  }
  return {};
}

/// `name` showed `before`, and is `after`'s in the log. If that is gone, it was replaced by the other one:
/// the record is not in the log, and an older one has taken the name away again. Only within one file system:
/// several are not of the same moment.
Result<void> OrderingLayer::Recovery::keep_replaced(const EntryName& name, const Gfid& before,
                                                    const Gfid& after) {
  if (before.is_nil() || after.is_nil() || before == after) return {};
  if (!store_.owns(before) || !store_.owns(after)) return {};
  auto there = store_.lookup(name.parent, name.name);
  if (!there.failed_with(ENOENT)) return {};
  if (!store_.attr(after).failed_with(ESTALE)) return {};
  auto attr = store_.attr(before);
  if (attr.failed_with(ESTALE)) return {};
  if (!attr) return std::move(attr).error();
  log::warning("brick {}: \"{}\" in {} is {}, which has replaced {}", store_.path(), name.name,
               name.parent.hex(), before.hex(), after.hex());
  return name_again(*attr, name);
}

/// `name` was taken away from the file by a redo. Nothing to do if it has others.
Result<void> OrderingLayer::Recovery::give_back(const Gfid& gfid, EntryName name) {
  TRY(bool nameless, store_.is_nameless(gfid));
  if (!nameless) return {};
  if (store_.owns(name.parent)) {
    auto there = store_.lookup(name.parent, name.name);
    bool free = there.failed_with(ENOENT);
    if (there) {
      TRY(free, give_way(*there, name));
    }
    if (!free) name.name = "lost+found-" + gfid.hex();
    if (there.failed_with(ESTALE)) name.parent = Gfid::root();
  }
  log::warning("brick {}: {} had a name that no record tells of; it is \"{}\" in {} now", store_.path(),
               gfid.hex(), name.name, name.parent.hex());
  TRY(auto attr, store_.attr(gfid));
  return name_again(attr, name);
}

/// `there` is what a redo put at a name that showed something else. True: it has another place, and is not
/// here any more.
Result<bool> OrderingLayer::Recovery::give_way(const FileAttr& there, const EntryName& name) {
  auto record = layer_.begin({}, RecordKind::kUnlink, there.gfid);
  record.name = name;
  record.tx.mode = there.mode & S_IFMT;
  if (there.is_directory()) {
    TRY(auto place, place_but(there.gfid, name));
    if (!place) return false;
    record.kind = RecordKind::kRename;
    record.to = *place;
  } else {
    TRY(bool named, has_name_but(there, name));
    if (!named) return false;
  }
  log::warning("brick {}: {} is not \"{}\" in {} any more, as it was before a record made it so again",
               store_.path(), there.gfid.hex(), name.name, name.parent.hex());
  TRY(layer_.commit(record));
  return true;
}

/// Where the directory is, other than `but`: what it notes itself, or has kept of a change that no log knows.
Result<std::optional<EntryName>> OrderingLayer::Recovery::place_but(const Gfid& gfid, const EntryName& but) {
  auto is_there = [&](const EntryName& name) -> Result<bool> {
    if (name == but || !store_.owns(name.parent)) return false;
    auto there = store_.lookup(name.parent, name.name);
    if (!there && !there.failed_with(ENOENT) && !there.failed_with(ESTALE)) return std::move(there).error();
    return there && there->gfid == gfid;
  };
  if (auto noted = store_.parent_of(gfid)) {
    TRY(bool there, is_there(*noted));
    if (there) return *std::move(noted);
  }
  TRY(auto* survey, survey_once());
  for (const auto& entry : survey->subdirectories) {
    if (entry.gfid != gfid) continue;
    TRY(bool there, is_there(entry.name));
    if (there) return entry.name;
  }
  return std::nullopt;
}

/// Whether the file has another name in a directory of this set: one on another set is not of the same
/// moment.
Result<bool> OrderingLayer::Recovery::has_name_but(const FileAttr& file, const EntryName& but) {
  if (store_.owns(file.gfid) && file.nlink == 1) return false;
  TRY(auto* survey, survey_once());
  if (store_.owns(file.gfid))
    return file.nlink > 1 + std::ranges::count(survey->away, file.gfid, &Survey::Named::gfid);
  return std::ranges::any_of(survey->elsewhere,
                             [&](const auto& entry) { return entry.gfid == file.gfid && entry.name != but; });
}

Result<const Survey*> OrderingLayer::Recovery::survey_once() {
  if (!survey_) {
    TRY(survey_, store_.survey());
  }
  return &*survey_;
}

/// The object is at this name, too.
Result<void> OrderingLayer::Recovery::name_again(const FileAttr& object, const EntryName& name) {
  auto record = layer_.begin({}, RecordKind::kLink, object.gfid);
  record.name = name;
  record.tx.mode = object.mode & S_IFMT;
  if (object.is_directory()) {  // it has one name only
    TRY(auto noted, store_.parent_of(object.gfid));
    if (!store_.owns(noted.parent)) return {};
    if (noted != name) {
      record.kind = RecordKind::kRename;
      record.name = std::move(noted);
      record.to = name;
    }
  }
  return layer_.commit(record);
}

}  // namespace polder
