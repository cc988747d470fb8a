// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/primary/restate.h"

#include "core-volume/layer/posix_rules.h"
#include "core-volume/layer/record_rules.h"

namespace polder::georep {

namespace {

/// Nothing when the object is gone. One that is removed, and stays as long as somebody has it open, is gone:
/// no record would take it from the secondary, where it has no name.
Result<std::optional<FileAttr>> find_object(Store& store, const Gfid& gfid) {
  auto found = store.attr(gfid);
  if (found.failed_with(ESTALE)) return std::optional<FileAttr>();
  TRY(const auto attr, std::move(found));
  if (attr.nlink == 0) {
    TRY(const bool removed, store.is_orphan(gfid));
    if (removed) return std::optional<FileAttr>();
  }
  return attr;
}

Result<std::vector<Record>> records_of_object(Store& store, const Gfid& gfid, bool begin) {
  std::vector<Record> records;
  TRY(const auto found, find_object(store, gfid));
  if (!found) return records;
  const auto& attr = *found;
  auto read = store.state(gfid);
  if (read.failed_with(ESTALE)) return records;
  Record record;
  TRY(record.state, std::move(read));
  record.gfid = gfid;
  record.time_ns = time_to_ns(attr.ctime);
  record.kind = begin ? RecordKind::kCreate : RecordKind::kSetattr;
  records.push_back(record);
  if (begin && attr.is_regular()) {
    Record size;
    size.kind = RecordKind::kTruncate;
    size.gfid = gfid;
    size.time_ns = record.time_ns;
    for (const std::uint64_t bytes : {std::uint64_t{0}, attr.size}) {
      size.length = bytes;
      records.push_back(size);
    }
  }
  return records;
}

}  // namespace

Result<std::vector<Record>> begin_object(Store& store, const Gfid& gfid) {
  return records_of_object(store, gfid, true);
}
Result<std::vector<Record>> finish_object(Store& store, const Gfid& gfid) {
  return records_of_object(store, gfid, false);
}

void Touched::add(const Record& record) {
  if (!is_about_object(record.kind)) return;
  objects.insert(record.gfid);
  for (const auto* name : {&record.name, &record.to}) {
    if (name->name.empty()) continue;
    auto& seen = names[*name];
    seen.insert(record.gfid);
    if (!record.displaced.is_nil()) seen.insert(record.displaced);
    objects.insert(name->parent);
  }
  if (!record.displaced.is_nil()) objects.insert(record.displaced);
}

Record link_record(const EntryName& name, const Gfid& gfid) {
  Record record;
  record.kind = RecordKind::kLink;
  record.gfid = gfid;
  record.name = name;
  record.time_ns = kNoTime_ns;
  return record;
}

Result<std::vector<Record>> state_of_name(Store& store, const EntryName& name, const std::set<Gfid>& seen) {
  std::vector<Record> records;
  auto found = store.lookup(name.parent, name.name);
  const bool absent = found.failed_with(ENOENT) || found.failed_with(ESTALE) || found.failed_with(ENOTDIR);
  if (!found && !absent) return std::move(found.error());
  for (const auto& gfid : seen) {
    if (found && found->gfid == gfid) continue;
    Record record;
    record.kind = RecordKind::kUnlink;
    record.gfid = gfid;
    record.name = name;
    record.time_ns = kNoTime_ns;
    records.push_back(std::move(record));
  }
  if (found) records.push_back(link_record(name, found->gfid));
  return records;
}

Result<std::vector<Record>> removed_if_gone(Store& store, const Gfid& gfid) {
  std::vector<Record> records;
  TRY(const auto found, find_object(store, gfid));
  if (found) return records;
  Record record;
  record.kind = RecordKind::kRemoved;
  record.gfid = gfid;
  record.time_ns = kNoTime_ns;  // where it had a name, the parent is finished afterwards
  records.push_back(std::move(record));
  return records;
}

}  // namespace polder::georep
