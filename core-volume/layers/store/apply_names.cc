// SPDX-License-Identifier: GPL-3.0-or-later
// Store: names that go or move. A name is gone before its object is. Everything is decided by what is there
// now, not by what the record's first application found: a record may be folded again long after.
#include "base/crash_point.h"
#include "core-volume/layers/store/store.h"

namespace polder {
namespace {

/// A directory that is gone has no names.
Result<FdRef> or_null(Result<FdRef> dir) {
  if (dir.failed_with(ESTALE)) return FdRef();
  return dir;
}

}  // namespace

Result<void> Store::apply_unlink(const Record& record, const ApplyHints& hints) {
  const auto& at = record.name;
  TRY(auto parent, place(at, record.gfid, record.tx.mode, false));
  auto lock = stripes_.exclusive(
      {Stripes::name(at.parent, at.name), Stripes::object(at.parent), Stripes::object(record.gfid)});
  if (parent) {
    TRY(auto entry, find_held_entry(parent, at, lock));
    const bool shows_it = entry && entry->gfid == record.gfid;
    if (shows_it) {
      if (record.last_link && hints.keep_object) {
        TRY(mark_orphan(record.gfid));
      }
      auto removed = disk_.unlink(parent->fd(), at.name);
      if (!removed && !removed.failed_with(ENOENT)) return removed;  // ENOENT: not by us, since the look
      note_lost_name(at, record.gfid);
      crash_point("store/after-name-unlink");
    }
    TRY(touch(parent, at.parent, record.time_ns));
    if (shows_it && entry->has_meta()) {
      --entry->native.st_nlink;
      TRY(auto object, object_of(*entry));
      return drop_found(record.gfid, object, record.last_link, record.time_ns, hints);
    }
  } else if (record.last_link && hints.keep_object && owns(record.gfid)) {
    TRY(mark_orphan(record.gfid));  // a directory whose entry is on another set
  }
  return drop_object(record.gfid, record.last_link, record.time_ns, hints);
}

/// After a name of the object went: the object too when that was its last, else a new ctime.
Result<void> Store::drop_object(const Gfid& gfid, bool last_link, std::uint64_t time_ns,
                                const ApplyHints& hints) {
  auto object = locate(gfid);
  if (object.failed_with(ESTALE)) return {};
  if (!object) return std::move(object).error();
  return drop_found(gfid, *object, last_link, time_ns, hints);
}

Result<void> Store::drop_found(const Gfid& gfid, const Object& object, bool last_link, std::uint64_t time_ns,
                               const ApplyHints& hints) {
  if (!last_link) return stamp(object, time_ns);
  // Folded again, after the name went: whoever had it open then has left a marker.
  bool keep = false;
  if (hints.keep_object) {
    TRY(keep, is_orphan(gfid));
  }
  if (object.is(S_IFDIR)) {
    if (!keep) return remove_directory(gfid);
    // After a power loss something may be in it again: it has lost its place, and reconcile.h finds one.
    TRY(auto entries, disk_.list(object.fd->fd()));
    if (!entries.empty()) {
      TRY(unmark_orphan(gfid));
    }
    set_orphan_directory(gfid, entries.empty());
    return stamp(object, time_ns);
  }
  // Folded again it may have a name for a while that a later record removes.
  bool still_named = object.native.st_nlink > 1;
  if (keep || still_named) return stamp(object, time_ns);
  return remove_index_link(gfid);
}

Result<void> Store::remove_directory(const Gfid& gfid) {
  metas_.ended(gfid);
  auto removed = disk_.unlink(dirs_.fd(), gfid.hex(), AT_REMOVEDIR);
  fds_.erase(FdCache::Kind::kDirectory, gfid);
  if (!removed && !removed.failed_with(ENOENT))
    return std::move(removed).with("remove directory {}", gfid.hex());
  return {};
}

Result<void> Store::remove_index_link(const Gfid& gfid) {
  TRY(auto index_dir, index(gfid, false));
  metas_.ended(gfid);
  auto removed = disk_.unlink(index_dir->fd(), gfid.hex());
  fds_.erase(FdCache::Kind::kFile, gfid);
  if (!removed && !removed.failed_with(ENOENT)) return std::move(removed).with("remove {}", gfid.hex());
  return {};
}

/// What the two names of a rename show before it, as far as they are here.
struct Store::Renamed {
  FdRef from_dir, to_dir;
  std::optional<Entry> from, to;
};

Result<void> Store::apply_rename(const Record& record, const ApplyHints& hints) {
  TRY(auto from_dir, place(record.name, record.gfid, record.tx.mode, false));
  TRY(auto to_dir, place(record.to, record.gfid, record.tx.mode, true));
  std::vector<unsigned> stripes{
      Stripes::name(record.name.parent, record.name.name), Stripes::name(record.to.parent, record.to.name),
      Stripes::object(record.name.parent), Stripes::object(record.to.parent), Stripes::object(record.gfid)};
  if (!record.displaced.is_nil()) stripes.push_back(Stripes::object(record.displaced));
  auto lock = stripes_.exclusive(std::move(stripes));
  TRY(named_again(record.gfid));
  if (record.exchange) {
    TRY(named_again(record.displaced));
  }
  if (hints.note_replaced) {
    TRY(note_replaced(record));
  }

  Renamed names{from_dir, to_dir, {}, {}};
  if (record.exchange) {
    TRY(exchange_entries(record, from_dir, to_dir));
  } else {
    if (from_dir) {
      TRY(names.from, find_held_entry(from_dir, record.name, lock));
    }
    if (to_dir) {
      TRY(names.to, find_held_entry(to_dir, record.to, lock));
    }
    TRY(rename_entry(record, names, hints));
  }
  crash_point("store/after-rename");

  if (names.from && names.from->gfid == record.gfid && names.from->has_meta()) {
    TRY(auto object, object_of(*names.from));
    TRY(stamp(object, record.time_ns));
  } else {
    TRY(moved(record.gfid, record.to, record.time_ns));
  }
  if (record.exchange) {
    TRY(moved(record.displaced, record.name, record.time_ns));
  } else if (!record.displaced.is_nil()) {
    TRY(clear_name(record.to, record.displaced));
    TRY(drop_object(record.displaced, record.last_link, record.time_ns, hints));
  }
  TRY(touch_if_here(record.name.parent, record.time_ns));
  if (record.to.parent == record.name.parent) return {};
  return touch_if_here(record.to.parent, record.time_ns);
}

/// touch() of a directory, if it is one of ours. The caller holds its stripe.
Result<void> Store::touch_if_here(const Gfid& gfid, std::uint64_t time_ns) {
  if (!owns(gfid)) return {};
  TRY(auto dir, or_null(directory(gfid)));
  return dir ? touch(dir, gfid, time_ns) : Result<void>();
}

Result<void> Store::rename_entry(const Record& record, const Renamed& names, const ApplyHints& hints) {
  const auto& [from_dir, to_dir, from, to] = names;
  const bool at_from = from && from->gfid == record.gfid;
  const bool at_to = to && to->gfid == record.gfid;
  const bool displaces = to && !record.displaced.is_nil() && to->gfid == record.displaced;
  const bool displaces_here = displaces || (!owns(record.to.parent) && owns(record.displaced));
  if (displaces_here && record.last_link && hints.keep_object) {
    TRY(mark_orphan(record.displaced));
  }

  if (to && !at_to) note_lost_name(record.to, to->gfid);
  if (at_from && !at_to && to_dir)
    return disk_.rename(from_dir->fd(), record.name.name, to_dir->fd(), record.to.name);
  // From here on only when folded again, or when one of the two names is on another set.
  if (at_from) {
    TRY(disk_.unlink(from_dir->fd(), record.name.name));
    note_lost_name(record.name, record.gfid);
  }
  if (at_to || !to_dir) return {};
  if (displaces && owns(record.gfid)) {
    TRY(disk_.unlink(to_dir->fd(), record.to.name));
  }
  return set_name_if_exists(to_dir, record.to, record.gfid, record.tx.mode);
}

Result<void> Store::exchange_entries(const Record& record, const FdRef& from_dir, const FdRef& to_dir) {
  // In .polder/away are links of files only: an entry of a directory must not be swapped into it.
  const bool both_home = owns(record.name.parent) && owns(record.to.parent);
  auto is_file = [&](const Gfid& gfid, std::uint32_t mode) {
    return owns(gfid) && mode != 0 && !S_ISDIR(mode);
  };
  const bool both_files =
      is_file(record.gfid, record.tx.mode) && is_file(record.displaced, record.tx.displaced_mode);
  if (from_dir && to_dir && (both_home || both_files)) {
    TRY(auto from, find_entry(from_dir->fd(), record.name.name));
    TRY(auto to, find_entry(to_dir->fd(), record.to.name));
    bool before = from && to && from->gfid == record.gfid && to->gfid == record.displaced;
    if (before)
      return disk_.rename(from_dir->fd(), record.name.name, to_dir->fd(), record.to.name, RENAME_EXCHANGE);
  }
  // Of several sets: each object may have its names here or not. A new name first, so that a power loss
  // leaves each object one.
  TRY(move_name(record.to, record.gfid, record.tx.mode));
  TRY(move_name(record.name, record.displaced, record.tx.displaced_mode));
  // Folded again, either object may be gone by now, and then must not keep the name that the other one had.
  TRY(clear_name(record.name, record.gfid));
  return clear_name(record.to, record.displaced);
}

/// Where a name of the object is or may be here, whatever the object is; null: nowhere. The caller holds the
/// directory's stripe.
Result<FdRef> Store::held_place(const EntryName& at, const Gfid& gfid, bool create) {
  if (owns(at.parent)) return or_null(directory(at.parent));
  return owns(gfid) ? away(at.parent, create) : FdRef();
}

Result<FdRef> Store::place(const EntryName& at, const Gfid& gfid, std::uint32_t type, bool create) {
  if (S_ISDIR(type) && !owns(at.parent)) return FdRef();  // in .polder/away are links of files only
  auto lock = stripes_.shared(Stripes::object(at.parent));
  return held_place(at, gfid, create);
}

Result<void> Store::clear_name(const EntryName& at, const Gfid& gfid) {
  TRY(auto dir, held_place(at, gfid, false));
  if (!dir) return {};
  TRY(auto entry, find_entry(dir->fd(), at.name));
  if (!entry || entry->gfid != gfid) return {};
  note_lost_name(at, gfid);
  return disk_.unlink(dir->fd(), at.name);
}

/// The object gets this name, as far as either is here.
Result<void> Store::move_name(const EntryName& at, const Gfid& gfid, std::uint32_t type) {
  if (owns(gfid)) {
    auto object = locate(gfid);
    if (object.failed_with(ESTALE)) return {};
    if (!object) return std::move(object).error();
    if (object->is(S_IFDIR) && !owns(at.parent)) return {};
  }
  TRY(auto dir, held_place(at, gfid, true));
  return dir ? set_name_if_exists(dir, at, gfid, type) : Result<void>();
}

/// The object has a new place: a new ctime, and a directory knows its parent.
Result<void> Store::moved(const Gfid& gfid, const EntryName& to, std::uint64_t time_ns) {
  auto object = locate(gfid);
  if (object.failed_with(ESTALE)) return {};
  if (!object) return std::move(object).error();
  if (object->is(S_IFDIR)) {
    TRY(disk_.set_xattr(object->fd->fd(), layout::kParentKey, layout::pack_parent(to)));
  }
  return stamp(*object, time_ns);
}

/// Folded again: a secondary may have made the object once more, from its spool.
Result<bool> Store::is_made_after(const Record& record) {
  auto lock = stripes_.shared(Stripes::object(record.gfid));
  auto object = locate(record.gfid);
  if (object.failed_with(ESTALE)) return false;
  if (!object) return std::move(object).error();
  TRY(const auto meta, meta_of(*object));
  return bytes_are_newer(meta, record);
}

/// The object is gone, whatever names it had: of a rescan, so it may be slow.
Result<void> Store::apply_removed(const Record& record) {
  const auto& gfid = record.gfid;
  TRY(const bool made_again, is_made_after(record));
  if (made_again) return {};
  auto parent = parent_of(gfid);
  if (parent) {
    TRY(auto dir, or_null(shared_directory(parent->parent)));
    auto lock = stripes_.exclusive({Stripes::name(parent->parent, parent->name),
                                    Stripes::object(parent->parent), Stripes::object(gfid)});
    if (dir) {
      TRY(auto entry, find_entry(dir->fd(), parent->name));
      if (entry && entry->gfid == gfid) {
        TRY(disk_.unlink(dir->fd(), parent->name));
      }
      TRY(touch(dir, parent->parent, record.time_ns));
    }
    return drop_object(gfid, true, record.time_ns, {});
  }
  Object object;
  {
    auto lock = stripes_.shared(Stripes::object(gfid));
    auto found = locate(gfid);
    if (found.failed_with(ESTALE)) return {};
    if (!found) return std::move(found).error();
    object = std::move(*found);
  }
  if (!object.is(S_IFDIR) && object.native.st_nlink > 1) {
    TRY(remove_all_names(gfid, object.native.st_ino));
  }
  auto lock = stripes_.exclusive({Stripes::object(gfid)});
  TRY(drop_object(gfid, true, record.time_ns, {}));
  return {};
}

/// Names are not recorded with the object (renaming a directory would change them all), so all directories
/// are asked.
Result<void> Store::remove_all_names(const Gfid& gfid, ino_t inode) {
  TRY(auto directories, disk_.list(dirs_.fd()));
  for (const auto& candidate : directories) {
    auto parent = Gfid::parse(candidate.name);
    if (!parent) continue;
    TRY(auto dir, or_null(shared_directory(*parent)));
    if (!dir) continue;
    TRY(auto entries, disk_.list(dir->fd()));
    for (const auto& entry : entries) {
      if (entry.inode != inode) continue;
      auto lock = stripes_.exclusive(
          {Stripes::name(*parent, entry.name), Stripes::object(*parent), Stripes::object(gfid)});
      TRY(auto there, find_entry(dir->fd(), entry.name));
      if (!there || there->gfid != gfid) continue;
      TRY(disk_.unlink(dir->fd(), entry.name));
      listings_.changed(*parent);
    }
  }
  return {};
}

}  // namespace polder
