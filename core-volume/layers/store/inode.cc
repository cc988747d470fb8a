// SPDX-License-Identifier: GPL-3.0-or-later
// Store: attributes of one inode as records state them: owner, mode, times, xattrs, and Polder's own Meta.
#include <utility>

#include "core-volume/layer/no_room.h"
#include "core-volume/layer/posix_acl.h"
#include "core-volume/layers/store/store.h"

namespace polder {

/// Whatever becomes of the change, it must be looked at again.
void Store::forget_xattr(const Object& object, std::string_view key) {
  if (object.name.empty() && key == kAclDefault) object.fd->set_default_acl({});
}

// A file system that has no room, or a user who is at his quota, may be refused what changes nothing. It is
// no failure: so what did not happen can be taken back.

Result<void> Store::set_raw_xattr(const Object& object, const std::string& key, std::string_view value) {
  forget_xattr(object, key);
  auto set = object.name.empty() ? disk_.set_xattr(object.fd->fd(), key, value)
                                 : disk_.set_xattr_at(object.fd->fd(), object.name, key, value);
  if (set || !is_no_room(set.error())) return std::move(set).with("set {}", key);
  auto there = raw_xattr(object, key);
  if (there && *there == value) return {};
  return std::move(set).with("set {}", key);
}

Result<void> Store::remove_raw_xattr(const Object& object, const std::string& key) {
  forget_xattr(object, key);
  auto removed = object.name.empty() ? disk_.remove_xattr(object.fd->fd(), key)
                                     : disk_.remove_xattr_at(object.fd->fd(), object.name, key);
  if (removed || removed.failed_with(ENODATA)) return {};
  if (is_no_room(removed.error()) && raw_xattr(object, key).failed_with(ENODATA)) return {};
  return std::move(removed).with("remove {}", key);
}

Result<void> Store::set_meta(const Object& object, const layout::Meta& meta) {
  if (object.name.empty()) object.fd->set_meta({});
  auto set = set_raw_xattr(object, layout::kMetaKey, layout::pack_meta(meta));
  if (!set) {
    metas_.ended(meta.gfid);
    return set;
  }
  metas_.changed(object.native.st_ino, meta);
  if (object.name.empty()) object.fd->set_meta(meta);
  return {};
}

Result<void> Store::set_owner_and_mode(const Object& object, const ObjectState& state) {
  int fd = object.fd->fd();
  // Only when it differs: chown drops set-id bits and security.capability even if the owner stays.
  bool chown = object.native.st_uid != state.uid || object.native.st_gid != state.gid;
  if (chown) {
    TRY(disk_.chown_at(fd, object.name, state.uid, state.gid));
  }
  if (object.is(S_IFLNK)) return {};
  bool chmod = chown || (object.native.st_mode & 07777) != (state.mode & 07777);
  if (!chmod) return {};
  return object.name.empty() ? disk_.chmod(fd, state.mode & 07777)
                             : disk_.chmod_at(fd, object.name, state.mode & 07777);
}

Result<void> Store::set_times(const Object& object, const timespec& atime, const timespec& mtime) {
  timespec times[2] = {atime, mtime};
  return object.name.empty() ? disk_.set_times(object.fd->fd(), times)
                             : disk_.set_times_at(object.fd->fd(), object.name, times);
}

/// All that a kCreate record says of an object's inode. Owner first (it clears mode bits and capabilities),
/// mode after ACLs (which set it), Meta last (it vouches for the times).
Result<void> Store::dress(const Object& object, const Record& record, const layout::Meta& meta) {
  const auto& state = record.state;
  const bool chown = object.native.st_uid != state.uid || object.native.st_gid != state.gid;
  if (chown) {
    TRY(disk_.chown_at(object.fd->fd(), object.name, state.uid, state.gid));
  }
  for (const auto& [key, value] : state.xattrs) {
    if (layout::is_hidden(key)) return Error(EPERM).with("a record sets {}", key);
    TRY(set_raw_xattr(object, key, value));
  }
  const auto mode = state.mode & 07777;
  const bool chmod = chown || !state.xattrs.empty() || (object.native.st_mode & 07777) != mode;
  if (chmod && !object.is(S_IFLNK)) {
    TRY(object.name.empty() ? disk_.chmod(object.fd->fd(), mode)
                            : disk_.chmod_at(object.fd->fd(), object.name, mode));
  }
  TRY(set_times(object, state.atime, state.mtime));
  return set_meta(object, meta);
}

/// Removes the xattrs that `state` does not have.
Result<void> Store::undress(const Object& object, const ObjectState& state) {
  TRY(auto keys, visible_xattrs(object));
  for (const auto& key : keys)
    if (!state.xattrs.contains(key)) {
      TRY(remove_raw_xattr(object, key));
    }
  return {};
}

/// Gives the object a new ctime and nothing else. An object that is gone needs none.
Result<void> Store::stamp(const Gfid& gfid, std::uint64_t time_ns) {
  auto object = locate(gfid);
  if (object.failed_with(ESTALE)) return {};
  if (!object) return std::move(object).error();
  return stamp(*object, time_ns);
}

Result<void> Store::stamp(const Object& object, std::uint64_t time_ns) {
  TRY(auto meta, meta_of(object));
  meta.ctime_ns = layout::newer_ctime(meta, object.native, time_ns);
  meta.mtime = object.native.st_mtim;
  auto set = set_meta(object, meta);
  if (set.failed_with(ENOENT)) return {};
  return set;
}

Result<void> Store::apply_setattr(const Record& record) {
  auto lock = stripes_.exclusive({Stripes::object(record.gfid)});
  auto object = locate(record.gfid);
  if (object.failed_with(ESTALE)) return {};
  if (!object) return std::move(object).error();
  TRY(auto meta, meta_of(*object));
  TRY(set_owner_and_mode(*object, record.state));
  TRY(set_times(*object, record.state.atime, record.state.mtime));
  // The record's, whatever the object shows: a kill between set_times() and here leaves a time that somebody
  // chose, perhaps in the future, where a write's time is expected.
  meta.ctime_ns = record.time_ns;
  // As the file system keeps it: it may not know the year or the nanosecond asked for.
  TRY(auto native, disk_.stat(object->fd->fd(), object->name));
  meta.mtime = native.st_mtim;
  return set_meta(*object, meta);
}

Result<void> Store::apply_xattr(const Record& record) {
  if (layout::is_hidden(record.key)) return Error(EPERM).with("a record sets {}", record.key);
  auto lock = stripes_.exclusive({Stripes::object(record.gfid)});
  auto object = locate(record.gfid);
  if (object.failed_with(ESTALE)) return {};
  if (!object) return std::move(object).error();
  if (record.value) {
    // Before there is one: what says that there is none must not outlive a crash in between.
    TRY(auto meta, meta_of(*object));
    if (std::exchange(meta.plain, false)) {
      TRY(set_meta(*object, meta));
    }
    TRY(set_raw_xattr(*object, record.key, *record.value));
  } else {
    TRY(remove_raw_xattr(*object, record.key));
  }
  // An access ACL sets the mode natively, and the record's mode is what came out of that.
  if (record.state.mode && record.key == "system.posix_acl_access") {
    TRY(object->native, disk_.stat(object->fd->fd(), object->name));
    ObjectState state = record.state;
    state.uid = object->native.st_uid;
    state.gid = object->native.st_gid;
    TRY(set_owner_and_mode(*object, state));
  }
  return stamp(record.gfid, record.time_ns);
}

}  // namespace polder
