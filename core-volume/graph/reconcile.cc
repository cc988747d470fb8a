// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/reconcile.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "core-volume/layers/store/survey.h"

namespace polder {
namespace {

class Reconcile {
 public:
  Reconcile(const std::map<std::uint32_t, Store*>& sets, const Placement& placement)
      : sets_(sets), placement_(placement) {}

  Result<std::vector<Repair>> run() {
    for (const auto& [set, store] : sets_) {
      TRY(auto survey, store->survey().with("survey of brick {}", store->path()));
      take(set, std::move(survey));
    }
    std::ranges::sort(marks_);
    std::ranges::sort(away_);
    std::ranges::sort(replaced_, std::greater(), [](const auto& replaced) { return replaced.tx.number; });
    for (const auto& entry : subdirectories_) take_subdirectory(entry);
    for (const auto& mark : marks_) {
      TRY(check_mark(mark));
    }
    TRY(find_wanted());
    for (const auto& [gfid, directory] : directories_)
      if (gfid != Gfid::root() && !directory.entries.empty()) check_directory(gfid, directory);
    for (const auto& noted : away_) {
      TRY(check_away(noted.name, noted.gfid));
    }
    for (const auto& replaced : replaced_) {
      TRY(check_replaced(replaced));
    }
    for (const auto& [gfid, place] : lost_directories_) {
      TRY(check_lost_directory(gfid, place));
    }
    if (all_run()) {
      for (const auto& gfid : nameless_)
        if (!linked_.contains(gfid))
          repair(owner(gfid), removed(gfid), fmt::format("object {} has no name", gfid.hex()));
      if (repairs_.empty()) open_circles();
    }
    return std::move(repairs_);
  }

 private:
  using Named = Survey::Named;
  struct Directory {
    EntryName parent;
    std::vector<EntryName> entries;
  };

  std::uint32_t owner(const Gfid& gfid) const { return placement_.set_of(gfid); }
  Store& store_of(const Gfid& gfid) const { return *sets_.at(owner(gfid)); }
  bool runs(const Gfid& gfid) const { return sets_.contains(owner(gfid)); }
  bool all_run() const {
    return std::ranges::all_of(placement_.sets(), [&](auto set) { return sets_.contains(set); });
  }

  void repair(std::uint32_t set, Record record, std::string why) {
    record.tx.sets = {set};
    repairs_.push_back({set, std::move(record), std::move(why)});
  }

  static Record change(RecordKind kind, const Gfid& gfid, const EntryName& name, std::uint32_t mode) {
    Record record;
    record.kind = kind;
    record.gfid = gfid;
    record.name = name;
    record.tx.mode = mode & S_IFMT;
    return record;
  }
  static Record removed(const Gfid& gfid) {
    Record record;
    record.kind = RecordKind::kRemoved;
    record.gfid = gfid;
    return record;
  }

  void take(std::uint32_t set, Survey survey) {
    auto take_all = [](auto& from, auto& to) { std::ranges::move(from, std::back_inserter(to)); };
    for (auto& directory : survey.directories)
      directories_[directory.gfid].parent = std::move(directory.parent);
    take_all(survey.subdirectories, subdirectories_);
    take_all(survey.elsewhere, marks_);
    take_all(survey.away, away_);
    take_all(survey.nameless, nameless_);
    take_all(survey.replaced, replaced_);
    for (const auto& gfid : survey.orphans)
      if (owner(gfid) == set) orphans_.insert(gfid);  // a redo marks what is elsewhere, too
  }

  void take_subdirectory(const Named& entry) {
    if (!runs(entry.gfid)) return;
    auto directory = directories_.find(entry.gfid);
    if (directory == directories_.end())
      drop_entry(entry.name, entry.gfid, S_IFDIR);
    else
      directory->second.entries.push_back(entry.name);
  }

  void drop_entry(const EntryName& name, const Gfid& gfid, std::uint32_t mode) {
    dropped_.insert(name);
    repair(owner(name.parent), change(RecordKind::kUnlink, gfid, name, mode),
           fmt::format("\"{}\" in {} shows {}, which is gone", name.name, name.parent.hex(), gfid.hex()));
  }

  /// Whether the one who is named there is noted here, or the other way round.
  static bool contains(const std::vector<Named>& sorted, const EntryName& name, const Gfid& gfid) {
    auto at = std::ranges::lower_bound(sorted, std::tie(name, gfid), {},
                                       [](const Named& of) { return std::tie(of.name, of.gfid); });
    return at != sorted.end() && at->name == name && at->gfid == gfid;
  }

  Result<void> check_mark(const Named& mark) {
    const auto& [name, gfid, mode] = mark;
    if (!runs(gfid) || contains(away_, name, gfid)) return {};
    auto attr = store_of(gfid).attr(gfid);
    if (attr.failed_with(ESTALE)) {
      drop_entry(name, gfid, mode);
      return {};
    }
    if (!attr) return std::move(attr).error();
    linked_.insert(gfid);
    repair(
        owner(gfid), change(RecordKind::kLink, gfid, name, mode),
        fmt::format("{} does not know of its name \"{}\" in {}", gfid.hex(), name.name, name.parent.hex()));
    return {};
  }

  /// Not one that was removed and waits for its last handle to go.
  bool can_have_names(const Gfid& directory) const {
    return directories_.contains(directory) && !orphans_.contains(directory);
  }

  /// Whether a name can be given.
  Result<bool> is_free(const EntryName& name) {
    if (!can_have_names(name.parent) || given_.contains(name)) return false;
    if (dropped_.contains(name)) return true;
    auto there = store_of(name.parent).lookup(name.parent, name.name);
    if (there.failed_with(ENOENT)) return true;
    if (!there && !there.failed_with(ESTALE)) return std::move(there).error();
    return false;
  }

  void give_entry(const EntryName& name, const Gfid& gfid, std::uint32_t mode) {
    given_.insert(name);
    repair(owner(name.parent), change(RecordKind::kLink, gfid, name, mode),
           fmt::format("{} has lost its entry \"{}\" in {}", gfid.hex(), name.name, name.parent.hex()));
  }

  Result<void> check_away(const EntryName& name, const Gfid& gfid) {
    if (!runs(name.parent) || contains(marks_, name, gfid)) return {};
    TRY(auto attr, store_of(gfid).attr(gfid));
    TRY(bool free, is_free(name));
    if (free) {
      give_entry(name, gfid, attr.mode);
      return {};
    }
    if (attr.nlink == 1) {  // its content may have been synced under another name
      keep_in_root(gfid, name, attr.mode);
      return {};
    }
    repair(owner(gfid), change(RecordKind::kUnlink, gfid, name, attr.mode),
           fmt::format("{} notes a name \"{}\" in {} that is not its own", gfid.hex(), name.name,
                       name.parent.hex()));
    return {};
  }

  /// What has replaced it is lost, and nobody else has the name. Never so where it is certain that it was
  /// replaced: those are forgotten before.
  Result<void> check_replaced(const ReplacedName& replaced) {
    const auto& [gfid, name, by, tx] = replaced;
    if (!runs(by) || !runs(name.parent)) return {};
    TRY(bool lost, is_gone(by));
    if (!lost) return {};
    auto attr = store_of(gfid).attr(gfid);
    if (attr.failed_with(ESTALE)) return {};
    if (!attr) return std::move(attr).error();
    // It has one place only: the one it has, or the one it notes (check_lost_directory()).
    if (attr->is_directory() && (!orphans_.contains(gfid) || !directories_[gfid].entries.empty())) return {};
    TRY(bool free, is_free(name));
    if (!free) return {};
    linked_.insert(gfid);
    if (owner(gfid) != owner(name.parent))
      repair(owner(gfid), change(RecordKind::kLink, gfid, name, attr->mode),
             fmt::format("{} was replaced by {}, which is lost", gfid.hex(), by.hex()));
    give_entry(name, gfid, attr->mode);
    return {};
  }

  Result<bool> is_gone(const Gfid& gfid) {
    auto attr = store_of(gfid).attr(gfid);
    if (!attr && !attr.failed_with(ESTALE)) return std::move(attr).error();
    return !attr.has_value();
  }

  /// What has no entry where it says that it is: a directory that has several leaves that place to it.
  Result<void> find_wanted() {
    for (const auto& noted : away_)
      if (runs(noted.name.parent) && !contains(marks_, noted.name, noted.gfid)) wanted_.insert(noted.name);
    for (const auto& [gfid, directory] : directories_) {
      if (gfid == Gfid::root() || !directory.entries.empty() || !all_run()) continue;
      if (orphans_.contains(gfid)) {  // removed, unless something is in it again
        TRY(bool empty, store_of(gfid).is_empty(gfid));
        if (empty) continue;
      }
      lost_directories_.emplace(gfid, directory.parent);
      wanted_.insert(directory.parent);
    }
    return {};
  }

  void check_directory(const Gfid& gfid, const Directory& directory) {
    const auto& [noted, entries] = directory;
    if (!noted.parent.is_nil() && !runs(noted.parent)) return;
    auto kept = std::ranges::find(entries, noted);
    if (kept == entries.end() || wanted_.contains(noted))
      kept = std::ranges::find_if(entries, [&](const auto& entry) { return !wanted_.contains(entry); });
    if (kept == entries.end()) kept = std::ranges::find(entries, noted);
    if (kept == entries.end()) kept = entries.begin();
    for (const auto& entry : entries) {
      if (entry == *kept) continue;
      dropped_.insert(entry);
      repair(owner(entry.parent), change(RecordKind::kUnlink, gfid, entry, S_IFDIR),
             fmt::format("directory {} has a second name \"{}\" in {}", gfid.hex(), entry.name,
                         entry.parent.hex()));
    }
    if (*kept != noted)
      move_to(gfid, noted, *kept, S_IFDIR, owner(gfid), "is a directory that notes another place");
    else if (orphans_.contains(gfid))
      repair(owner(gfid), change(RecordKind::kLink, gfid, *kept, S_IFDIR),
             fmt::format("directory {} was removed by what no log has", gfid.hex()));
  }

  void move_to(const Gfid& gfid, const EntryName& from, const EntryName& to, std::uint32_t mode,
               std::uint32_t set, std::string_view why) {
    auto record = change(RecordKind::kRename, gfid, from.parent.is_nil() ? to : from, mode);
    record.to = to;
    repair(set, std::move(record), fmt::format("{} {}", gfid.hex(), why));
  }

  void keep_in_root(const Gfid& gfid, const EntryName& noted, std::uint32_t mode) {
    const EntryName found{Gfid::root(), "lost+found-" + gfid.hex()};
    const std::string why = fmt::format("has lost its place, and is \"{}\" in the root now", found.name);
    const auto root = owner(Gfid::root());
    move_to(gfid, noted, found, mode, root, why);
    if (owner(gfid) != root) move_to(gfid, noted, found, mode, owner(gfid), why);
  }

  Result<void> check_lost_directory(const Gfid& gfid, const EntryName& place) {
    TRY(bool free, is_free(place));
    if (!free) {
      TRY(free, give_way(place));
    }
    if (free) {
      give_entry(place, gfid, S_IFDIR);
      return {};
    }
    TRY(bool empty, store_of(gfid).is_empty(gfid));
    empty = empty && std::ranges::count(given_, gfid, &EntryName::parent) == 0;
    if (empty && !can_have_names(place.parent))
      repair(owner(gfid), removed(gfid), fmt::format("directory {} has no name", gfid.hex()));
    else
      keep_in_root(gfid, place, S_IFDIR);
    return {};
  }

  /// Of two moves of directories only the later one is left, and the earlier one had made it possible. Every
  /// directory is where it says.
  void open_circles() {
    std::set<Gfid> seen{Gfid::root()};
    for (const auto& [gfid, directory] : directories_) {
      std::set<Gfid> way;
      auto at = gfid;
      while (!seen.contains(at) && directories_.contains(at) && way.insert(at).second)
        at = directories_.at(at).parent.parent;
      if (way.contains(at)) keep_in_root(at, directories_.at(at).parent, S_IFDIR);
      seen.merge(way);
    }
  }

  /// A file that has other names leaves this one to a directory that has none.
  Result<bool> give_way(const EntryName& name) {
    if (!directories_.contains(name.parent) || given_.contains(name)) return false;
    auto there = store_of(name.parent).lookup(name.parent, name.name);
    if (!there || there->elsewhere || there->is_directory() || there->nlink == 1) return false;
    repair(owner(name.parent), change(RecordKind::kUnlink, there->gfid, name, there->mode),
           fmt::format("{} has the name \"{}\" in {} of a directory", there->gfid.hex(), name.name,
                       name.parent.hex()));
    return true;
  }

  const std::map<std::uint32_t, Store*>& sets_;
  const Placement& placement_;
  std::map<Gfid, Directory> directories_;
  std::vector<Named> subdirectories_;
  std::vector<Gfid> nameless_;
  std::set<Gfid> orphans_;
  std::vector<Named> marks_, away_;  // sorted
  std::vector<ReplacedName> replaced_;
  std::map<Gfid, EntryName> lost_directories_;  // without an entry; where it was
  std::set<EntryName> wanted_;                  // and where others have none
  std::set<EntryName> given_, dropped_;
  std::set<Gfid> linked_;
  std::vector<Repair> repairs_;
};

}  // namespace

Result<std::vector<Repair>> find_repairs(const std::map<std::uint32_t, Store*>& sets,
                                         const Placement& placement) {
  return Reconcile(sets, placement).run();
}

}  // namespace polder
