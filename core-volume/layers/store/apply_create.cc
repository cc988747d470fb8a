// SPDX-License-Identifier: GPL-3.0-or-later
// Store: new objects and new names. An inode has its Meta and its index link (a directory: its place in
// dirs/) before it has a name, so that no crash leaves a name without a gfid.
#include <sys/sysmacros.h>

#include "base/crash_point.h"
#include "core-volume/layers/store/store.h"

namespace polder {
namespace {

layout::Meta meta_of_new(const Record& record) {
  return {.gfid = record.gfid,
          .ctime_ns = record.time_ns,
          .mtime = record.state.mtime,
          .destructive_index = record.index,
          .destructive_hlc_ns = record.hlc.ns,
          .plain = record.state.xattrs.empty()};
}

}  // namespace

Result<void> Store::apply_create(const Record& record) {
  const bool named = !record.name.parent.is_nil();
  const bool is_directory = S_ISDIR(record.state.mode);
  const bool ours = owns(record.gfid);
  FdRef parent;
  if (named) {
    TRY(parent, place(record.name, record.gfid, record.state.mode, true));
    // Folded again, and the parent went later: so this name did too. The object may have another name.
    if (!parent && owns(record.name.parent)) return ours ? restate(record) : Result<void>();
  }
  if (ours) {
    auto made = make_object(record);
    if (made.failed_with(EEXIST)) made = restate(record);
    TRY(std::move(made).with("make object {}", record.gfid.hex()));
    crash_point("store/after-index-link");
    TRY(named_again(record.gfid));
  }
  if (!parent) return {};  // make_directory() has noted where its entry is
  auto lock = stripes_.exclusive({Stripes::name(record.name.parent, record.name.name),
                                  Stripes::object(record.name.parent), Stripes::object(record.gfid)});
  TRY(set_name(parent, record.name, record.gfid, record.state.mode & S_IFMT));
  crash_point("store/after-name-link");
  TRY(touch(parent, record.name.parent, record.time_ns));
  if (!is_directory || !ours) return {};
  TRY(auto dir, directory(record.gfid));
  return disk_.set_xattr(dir->fd(), layout::kParentKey, layout::pack_parent(record.name));
}

/// EEXIST when there is such an object already.
Result<void> Store::make_object(const Record& record) {
  const auto& state = record.state;
  if (S_ISDIR(state.mode)) return make_directory(record);
  TRY(auto index_dir, index(record.gfid, true));
  if (S_ISREG(state.mode)) return make_regular(record, index_dir);

  auto name = record.gfid.hex();
  if (disk_.stat(index_dir->fd(), name)) return Error(EEXIST);
  (void)disk_.unlink(tmp_.fd(), name);  // what an earlier failed attempt left
  if (S_ISLNK(state.mode)) {
    TRY(disk_.symlink(state.target, tmp_.fd(), name));
  } else {
    TRY(disk_.mknod(tmp_.fd(), name, state.mode & S_IFMT, makedev(state.rdev_major, state.rdev_minor)));
  }
  TRY(auto native, disk_.stat(tmp_.fd(), name));
  Object object{FdRef(FdRef(), &tmp_), name, native};  // refers to tmp_ without owning it
  TRY(dress(object, record, meta_of_new(record)));
  crash_point("store/after-tmpfile");
  return disk_.rename(tmp_.fd(), name, index_dir->fd(), name, RENAME_NOREPLACE);
}

Result<void> Store::make_regular(const Record& record, const FdRef& index_dir) {
  const auto mode = record.state.mode & 07777;  // what the umask takes away dress() gives back
  TRY(auto file, disk_.open(tmp_.fd(), ".", O_TMPFILE | O_RDWR | O_NOATIME, mode));
  auto fd = std::make_shared<OpenInode>(std::move(file));
  TRY(auto native, disk_.fstat(fd->fd()));
  const auto meta = meta_of_new(record);
  TRY(dress({fd, {}, native}, record, meta));
  crash_point("store/after-tmpfile");
  const auto began = metas_.now();
  TRY(disk_.link_file(fd->fd(), index_dir->fd(), record.gfid.hex()));
  metas_.put(began, native.st_ino, meta);
  fds_.put(FdCache::Kind::kFile, record.gfid, std::move(fd));  // whoever creates a file writes it next
  return {};
}

Result<void> Store::make_directory(const Record& record) {
  auto name = record.gfid.hex();
  if (disk_.stat(dirs_.fd(), name)) return Error(EEXIST);
  (void)disk_.unlink(tmp_.fd(), name, AT_REMOVEDIR);
  TRY(disk_.mkdir(tmp_.fd(), name, 0700));
  TRY(auto dir, disk_.open(tmp_.fd(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  auto fd = std::make_shared<OpenInode>(std::move(dir));
  Object object{fd, {}, {}};
  object.native.st_mode = S_IFDIR | 0700;
  TRY(dress(object, record, meta_of_new(record)));
  if (!record.name.parent.is_nil()) {
    TRY(disk_.set_xattr(fd->fd(), layout::kParentKey, layout::pack_parent(record.name)));
  }
  crash_point("store/after-tmpfile");
  TRY(disk_.rename(tmp_.fd(), name, dirs_.fd(), name, RENAME_NOREPLACE));
  fds_.put(FdCache::Kind::kDirectory, record.gfid, std::move(fd));
  return {};
}

/// Brings an object that exists to the state that the record gives it. Its bytes stay: what was written after
/// the record is not all in the log.
Result<void> Store::restate(const Record& record) {
  auto lock = stripes_.exclusive({Stripes::object(record.gfid)});
  auto object = locate(record.gfid);
  if (object.failed_with(ESTALE)) return {};
  if (!object) return std::move(object).error();
  if (!object->is(record.state.mode & S_IFMT))
    return Error(EUCLEAN).with("object {} has type {:o}, its record says {:o}", record.gfid.hex(),
                               object->native.st_mode & S_IFMT, record.state.mode & S_IFMT);
  TRY(auto meta, meta_of(*object));
  TRY(undress(*object, record.state));
  TRY(object->native, disk_.stat(object->fd->fd(), object->name));
  meta.ctime_ns = record.time_ns;  // as in apply_setattr()
  meta.mtime = record.state.mtime;
  meta.plain = record.state.xattrs.empty();
  return dress(*object, record, meta);
}

Result<void> Store::apply_link(const Record& record) {
  TRY(auto parent, place(record.name, record.gfid, record.tx.mode, true));
  if (!parent && owns(record.name.parent)) return {};
  auto lock = stripes_.exclusive({Stripes::name(record.name.parent, record.name.name),
                                  Stripes::object(record.name.parent), Stripes::object(record.gfid)});
  TRY(named_again(record.gfid));
  if (parent) {
    TRY(set_name_if_exists(parent, record.name, record.gfid, record.tx.mode));
    crash_point("store/after-name-link");
    TRY(touch(parent, record.name.parent, record.time_ns));
  }
  return stamp(record.gfid, record.time_ns);
}

Result<void> Store::set_name_if_exists(const FdRef& dir, const EntryName& at, const Gfid& gfid,
                                       std::uint32_t type) {
  if (!owns(gfid)) return set_name(dir, at, gfid, type);
  auto object = locate(gfid);
  if (object.failed_with(ESTALE)) return {};
  if (!object) return std::move(object).error();
  TRY(set_name(dir, at, gfid, object->native.st_mode & S_IFMT));
  if (!object->is(S_IFDIR)) return {};
  return disk_.set_xattr(object->fd->fd(), layout::kParentKey, layout::pack_parent(at));
}

/// The name shows the object afterwards, whatever it showed before.
Result<void> Store::set_name(const FdRef& dir, const EntryName& at, const Gfid& gfid, std::uint32_t type) {
  if (type == S_IFDIR || !owns(gfid)) return set_mark(dir, at, gfid, type);
  auto hex = gfid.hex();
  TRY(auto index_dir, index(gfid, false));
  auto linked = disk_.link(index_dir->fd(), hex, dir->fd(), at.name);
  if (!linked.failed_with(EEXIST)) return linked;
  auto tmp_name = hex + ".link";
  (void)disk_.unlink(tmp_.fd(), tmp_name);
  TRY(disk_.link(index_dir->fd(), hex, tmp_.fd(), tmp_name));
  return move_into_place(tmp_name, dir, at, gfid);
}

/// An entry that is a symlink, known by its mark: of a directory, or of what is on another set.
Result<void> Store::set_mark(const FdRef& dir, const EntryName& at, const Gfid& gfid, std::uint32_t type) {
  auto hex = gfid.hex();
  auto tmp_name = hex + ".entry";
  (void)disk_.unlink(tmp_.fd(), tmp_name);
  TRY(disk_.symlink("../" + hex, tmp_.fd(), tmp_name));
  TRY(type == S_IFDIR ? disk_.set_xattr_at(tmp_.fd(), tmp_name, layout::kDirKey, layout::pack_dir_mark(gfid))
                      : disk_.set_xattr_at(tmp_.fd(), tmp_name, layout::kEntryKey,
                                           layout::pack_entry_mark({gfid, type})));
  return move_into_place(tmp_name, dir, at, gfid);
}

Result<void> Store::move_into_place(const std::string& tmp_name, const FdRef& dir, const EntryName& at,
                                    const Gfid& gfid) {
  auto moved = disk_.rename(tmp_.fd(), tmp_name, dir->fd(), at.name, RENAME_NOREPLACE);
  if (!moved.failed_with(EEXIST)) return moved;
  TRY(auto there, find_entry(dir->fd(), at.name));
  // rename(2) on to another link of the same inode does nothing, and would leave tmp_name.
  if (there && there->gfid == gfid) return disk_.unlink(tmp_.fd(), tmp_name);
  if (there) note_lost_name(at, there->gfid);
  return disk_.rename(tmp_.fd(), tmp_name, dir->fd(), at.name);
}

void Store::note_lost_name(const EntryName& at, const Gfid& gfid) {
  if (lost_names_ && owns(gfid)) lost_names_->emplace_back(gfid, at);
}

Result<bool> Store::is_nameless(const Gfid& gfid) {
  auto object = locate(gfid);
  if (object.failed_with(ESTALE)) return false;
  if (!object) return std::move(object).error();
  // A directory says itself where its entry was.
  if (object->is(S_IFDIR) || object->native.st_nlink > 1) return false;
  TRY(bool orphan, is_orphan(gfid));
  return !orphan;
}

/// A directory's times after a name in it changed: those of the newest record. The native mtime, which the
/// change has set to the kernel's time, differs from Meta's, so it is the ctime as well.
Result<void> Store::touch(const FdRef& dir, const Gfid& gfid, std::uint64_t time_ns) {
  if (!owns(gfid)) return {};  // names away from home: the directory's times are its own set's
  listings_.changed(gfid);
  if (time_ns == kNoTime_ns) return {};
  timespec times[2] = {{0, UTIME_OMIT}, layout::to_timespec(directory_times_.newest(gfid, time_ns))};
  return disk_.set_times(dir->fd(), times);
}

}  // namespace polder
