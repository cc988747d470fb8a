// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/unlisted.h"

#include <algorithm>
#include <map>
#include <set>

#include "changelog/record/listed.h"
#include "core-volume/layers/store/changed.h"
#include "core-volume/layers/store/survey.h"

namespace polder::georep {
namespace {

class Removals {
 public:
  Removals(Store& store, std::uint64_t time_ns) : store_(store), time_ns_(time_ns) {}

  void remove_name(const Gfid& directory, const ListedName& entry) {
    records_.push_back(unlink({directory, entry.name}, entry));
  }
  void remove_object(const Gfid& gfid) {
    Record record;
    record.kind = RecordKind::kRemoved;
    record.gfid = gfid;
    record.time_ns = time_ns_;
    records_.push_back(std::move(record));
  }
  Result<void> remove_tree(const Gfid& directory) {
    TRY(remove_all_of(directory));
    remove_object(directory);
    return {};
  }

  Result<void> remove(const Gfid& directory, const ListedName& entry) {
    const EntryName name{directory, entry.name};
    auto record = unlink(name, entry);
    if (S_ISDIR(entry.type)) {
      TRY(record.last_link, is_at(entry.gfid, name));
      if (record.last_link) {
        TRY(remove_all_of(entry.gfid));
      }
    } else {
      TRY(record.last_link, loses_last(entry.gfid));
    }
    records_.push_back(std::move(record));
    return {};
  }
  std::vector<Record> take() { return std::move(records_); }

 private:
  Record unlink(const EntryName& name, const ListedName& entry) const {
    Record record;
    record.kind = RecordKind::kUnlink;
    record.gfid = entry.gfid;
    record.name = name;
    record.time_ns = time_ns_;
    record.tx.mode = entry.type;
    return record;
  }

  /// Else it has moved on, and this is what is left of where it was.
  Result<bool> is_at(const Gfid& directory, const EntryName& name) {
    auto noted = store_.parent_of(directory);
    if (noted.failed_with(ESTALE) || noted.failed_with(ENODATA)) return false;
    if (!noted) return std::move(noted).error();
    return *noted == name;
  }

  Result<void> remove_all_of(const Gfid& directory) {
    auto names = store_.names_since(directory, UINT64_MAX);
    if (names.failed_with(ESTALE)) return {};
    if (!names) return std::move(names).error();
    for (const auto& entry : *names) {
      TRY(remove(directory, entry));
    }
    return {};
  }

  /// Several of its names may go at once.
  Result<bool> loses_last(const Gfid& gfid) {
    auto there = store_.attr(gfid);
    if (there.failed_with(ESTALE)) return false;
    if (!there) return std::move(there).error();
    return ++lost_[gfid] >= there->nlink;
  }

  Store& store_;
  const std::uint64_t time_ns_;
  std::vector<Record> records_;
  std::map<Gfid, std::uint32_t> lost_;  // names, in records_
};

}  // namespace

Result<std::vector<Record>> unlisted(Store& store, const Record& record, Objects objects) {
  TRY(const auto listed, listed_of(record));
  auto names = store.names_since(record.gfid, UINT64_MAX);
  if (names.failed_with(ESTALE)) return std::vector<Record>();
  if (!names) return std::move(names).error();
  Removals removals(store, record.time_ns);
  for (const auto& entry : *names) {
    if (!listed.covers(entry.name) || std::ranges::binary_search(listed.names, entry.name)) continue;
    if (objects == Objects::kStay) {
      removals.remove_name(record.gfid, entry);
      continue;
    }
    TRY(removals.remove(record.gfid, entry).with("remove \"{}\"", entry.name));
  }
  return removals.take();
}

Result<std::vector<Record>> nameless(Store& store) {
  TRY(const auto survey, store.survey());
  std::set<Gfid> named{Gfid::root()};
  for (const auto& entry : survey.subdirectories) named.insert(entry.gfid);
  Removals removals(store, kNoTime_ns);
  for (const auto& gfid : survey.nameless) removals.remove_object(gfid);
  for (const auto& directory : survey.directories) {
    const bool open = std::ranges::binary_search(survey.orphans, directory.gfid);
    if (open || named.contains(directory.gfid)) continue;
    TRY(removals.remove_tree(directory.gfid).with("remove directory {}", directory.gfid.hex()));
  }
  return removals.take();
}

}  // namespace polder::georep
