// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/reconcile.h"

#include <set>

#include "core-volume/layers/store/scan.h"

namespace polder {
namespace {

class Reconcile {
 public:
  Reconcile(const std::map<std::uint32_t, Store*>& sets, const Placement& placement)
      : sets_(sets), placement_(placement) {}

  Result<std::vector<Repair>> run() {
    for (const auto& [set, store] : sets_) {
      TRY(take_objects(*store));
      TRY(auto away, store->names_away());
      for (auto& [name, gfid] : away) away_.emplace(std::move(name), gfid);
    }
    for (auto& [gfid, directory] : directories_) {
      TRY(take_entries(gfid));
    }
    for (const auto& [name, mark] : marks_) {
      TRY(check_mark(name, mark));
    }
    for (const auto& [name, gfid] : away_) {
      TRY(check_away(name, gfid));
    }
    for (const auto& [gfid, directory] : directories_) {
      if (gfid != Gfid::root()) {
        TRY(check_directory(gfid, directory));
      }
    }
    for (const auto& gfid : nameless_)
      if (!linked_.contains(gfid))
        repair(owner(gfid), removed(gfid), fmt::format("object {} has no name", gfid.hex()));
    return std::move(repairs_);
  }

 private:
  struct Directory {
    EntryName parent;
    std::vector<EntryName> entries;
  };
  struct Mark {
    Gfid gfid;
    std::uint32_t mode = 0;
  };

  std::uint32_t owner(const Gfid& gfid) const { return placement_.set_of(gfid); }
  Store& store_of(const Gfid& gfid) const { return *sets_.at(owner(gfid)); }

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

  Result<void> take_objects(Store& store) {
    auto scan = store.scan({});
    while (true) {
      TRY(auto items, scan->next(1024));
      if (items.empty()) return {};
      for (const auto& item : items) {
        if (item.directory) {
          auto parent =
              item.gfid == Gfid::root() ? EntryName() : store.parent_of(item.gfid).value_or(EntryName());
          directories_[item.gfid].parent = parent;
          continue;
        }
        TRY(auto attr, store.attr(item.gfid));
        TRY(bool orphan, store.is_orphan(item.gfid));
        if (attr.nlink == 0 && !orphan) nameless_.push_back(item.gfid);
      }
    }
  }

  Result<void> take_entries(const Gfid& parent) {
    auto& store = store_of(parent);
    std::uint64_t cookie = 0;
    while (true) {
      TRY(auto page, store.list(parent, cookie, 1024, false));
      for (const auto& entry : page.entries) {
        cookie = entry.cookie;
        const EntryName name{parent, entry.name};
        if (entry.attr.is_directory()) {
          auto directory = directories_.find(entry.attr.gfid);
          if (directory == directories_.end())
            drop_entry(name, entry.attr.gfid, S_IFDIR);
          else
            directory->second.entries.push_back(name);
        } else if (entry.attr.elsewhere) {
          marks_[name] = {entry.attr.gfid, entry.attr.mode};
        }
      }
      if (page.end) return {};
    }
  }

  void drop_entry(const EntryName& name, const Gfid& gfid, std::uint32_t mode) {
    repair(owner(name.parent), change(RecordKind::kUnlink, gfid, name, mode),
           fmt::format("\"{}\" in {} shows {}, which is gone", name.name, name.parent.hex(), gfid.hex()));
  }

  Result<void> check_mark(const EntryName& name, const Mark& mark) {
    auto attr = store_of(mark.gfid).attr(mark.gfid);
    if (attr.failed_with(ESTALE)) {
      drop_entry(name, mark.gfid, mark.mode);
      return {};
    }
    if (!attr) return std::move(attr).error();
    auto noted = away_.find(name);
    if (noted != away_.end() && noted->second == mark.gfid) return {};
    linked_.insert(mark.gfid);
    repair(owner(mark.gfid), change(RecordKind::kLink, mark.gfid, name, mark.mode),
           fmt::format("{} does not know of its name \"{}\" in {}", mark.gfid.hex(), name.name,
                       name.parent.hex()));
    return {};
  }

  /// Whether a name can be given.
  Result<bool> is_free(const EntryName& name) {
    if (!directories_.contains(name.parent) || given_.contains(name)) return false;
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
    auto mark = marks_.find(name);
    if (mark != marks_.end() && mark->second.gfid == gfid) return {};
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

  Result<void> check_directory(const Gfid& gfid, const Directory& directory) {
    if (directory.entries.empty()) return check_lost_directory(gfid, directory.parent);
    const auto noted = std::ranges::find(directory.entries, directory.parent);
    const auto& kept = noted == directory.entries.end() ? directory.entries.front() : *noted;
    for (const auto& entry : directory.entries)
      if (entry != kept)
        repair(owner(entry.parent), change(RecordKind::kUnlink, gfid, entry, S_IFDIR),
               fmt::format("directory {} has a second name \"{}\" in {}", gfid.hex(), entry.name,
                           entry.parent.hex()));
    if (noted == directory.entries.end())
      move_to(gfid, directory.parent, kept, S_IFDIR, owner(gfid), "is a directory that notes another place");
    return {};
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

  Result<void> check_lost_directory(const Gfid& gfid, const EntryName& parent) {
    TRY(bool orphan, store_of(gfid).is_orphan(gfid));
    if (orphan) return {};
    TRY(bool free, is_free(parent));
    if (free) {
      give_entry(parent, gfid, S_IFDIR);
      return {};
    }
    TRY(bool empty, store_of(gfid).is_empty(gfid));
    if (empty) {
      repair(owner(gfid), removed(gfid), fmt::format("directory {} has no name", gfid.hex()));
      return {};
    }
    keep_in_root(gfid, parent, S_IFDIR);
    return {};
  }

  const std::map<std::uint32_t, Store*>& sets_;
  const Placement& placement_;
  std::map<Gfid, Directory> directories_;
  std::vector<Gfid> nameless_;
  std::map<EntryName, Gfid> away_;
  std::map<EntryName, Mark> marks_;
  std::set<EntryName> given_;
  std::set<Gfid> linked_;
  std::vector<Repair> repairs_;
};

}  // namespace

Result<std::vector<Repair>> find_repairs(const std::map<std::uint32_t, Store*>& sets,
                                         const Placement& placement) {
  return Reconcile(sets, placement).run();
}

}  // namespace polder
