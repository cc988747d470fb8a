// SPDX-License-Identifier: GPL-3.0-or-later
// Store: the read side.
#include <dirent.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "base/log.h"
#include "core-volume/layer/brick_xattrs.h"
#include "core-volume/layer/posix_acl.h"
#include "core-volume/layers/store/store.h"

namespace polder {
namespace {

FileAttr make_attr(const layout::Meta& meta, const struct stat& native) {
  FileAttr attr;
  attr.gfid = meta.gfid;
  attr.mode = native.st_mode;
  attr.uid = native.st_uid;
  attr.gid = native.st_gid;
  // The index link is one of the native links.
  attr.nlink = S_ISDIR(native.st_mode) ? 1 : static_cast<std::uint32_t>(native.st_nlink - 1);
  attr.rdev_major = major(native.st_rdev);
  attr.rdev_minor = minor(native.st_rdev);
  attr.size = static_cast<std::uint64_t>(native.st_size);
  attr.blocks_512 = static_cast<std::uint64_t>(native.st_blocks);
  attr.atime = native.st_atim;
  attr.mtime = native.st_mtim;
  attr.ctime = layout::effective_ctime(meta, native);
  attr.plain = meta.plain;
  return attr;
}

/// What an entry alone says.
FileAttr attr_of_entry(const Gfid& gfid, std::uint32_t type, bool elsewhere) {
  FileAttr attr;
  attr.gfid = gfid;
  attr.elsewhere = elsewhere;
  attr.mode = type;
  return attr;
}

/// Room that is never given away, so that removing, truncating and the log always work: 1 % of the file
/// system, at least 16 MiB and at most 1 GiB.
std::uint64_t reserve_bytes(std::uint64_t total_bytes) {
  return std::max<std::uint64_t>(16 << 20, std::min<std::uint64_t>(1 << 30, total_bytes / 100));
}

}  // namespace

Result<FileAttr> Store::lookup(const Gfid& parent, const std::string& name) {
  TRY(auto dir, shared_directory(parent));
  return entry_attr(dir, parent, name);
}

Result<FileAttr> Store::lookup_again(const Gfid& parent, const std::string& name) {
  const auto name_stripe = Stripes::name(parent, name);
  auto seen = seen_names_.find(name_stripe, {parent, name});
  const bool forgotten = !seen || (seen->entry && !seen->entry->has_meta());
  if (forgotten ||
      (seen->entry && !stripes_.unchanged_since(seen->tick, Stripes::object(seen->entry->gfid))) ||
      !stripes_.unchanged_since(seen->tick, name_stripe))
    return lookup(parent, name);
  if (!seen->entry) return Error(ENOENT);
  return make_attr(seen->entry->meta, seen->entry->native);
}

Result<FileAttr> Store::entry_attr(const FdRef& dir, const Gfid& parent, const std::string& name) {
  const auto name_stripe = Stripes::name(parent, name);
  const auto tick = stripes_.now();
  // What was read while something changed means nothing, and neither does its error: a name and its
  // attributes are read one after the other.
  auto unlocked = [&]() -> Result<std::optional<FileAttr>> {
    TRY(auto entry, find_entry(dir->fd(), name));
    seen_names_.note(name_stripe, {{parent, name}, tick, entry});
    if (!entry) return Error(ENOENT);
    if (entry->elsewhere) return attr_of_entry(entry->gfid, entry->type, true);
    if (entry->directory) return attr(entry->gfid);
    if (!stripes_.unchanged_since(tick, Stripes::object(entry->gfid))) return std::nullopt;
    if (stripes_.unchanged_since(tick, name_stripe)) remember_meta(*entry);
    return make_attr(entry->meta, entry->native);
  }();
  if (stripes_.unchanged_since(tick, name_stripe)) {
    if (!unlocked) return std::move(unlocked).error();
    if (*unlocked) return std::move(**unlocked);
  }

  // Once more, with changes locked out.
  auto name_lock = stripes_.shared(name_stripe);
  TRY(auto entry, find_entry(dir->fd(), name));
  if (!entry) return Error(ENOENT);
  if (entry->elsewhere) return attr_of_entry(entry->gfid, entry->type, true);
  auto object_lock = stripes_.shared(Stripes::object(entry->gfid));
  return attr_locked(entry->gfid);
}

Result<FileAttr> Store::attr_locked(const Gfid& gfid) {
  TRY(auto object, locate(gfid));
  TRY(auto meta, meta_of(object));
  auto attr = make_attr(meta, object.native);
  if (attr.is_directory() && is_orphan_directory(gfid)) attr.nlink = 0;
  return attr;
}

Result<FileAttr> Store::attr(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  return attr_locked(gfid);
}

Result<std::uint64_t> Store::size(const Gfid& gfid) {
  TRY(auto fd, shared_file(gfid));
  TRY(auto native, disk_.fstat(fd->fd()));
  return static_cast<std::uint64_t>(native.st_size);
}

Result<void> Store::check_regular(const Gfid& gfid) {
  TRY(shared_file(gfid));
  return {};
}

Result<ObjectState> Store::state(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  TRY(auto object, locate(gfid));
  const auto& native = object.native;
  ObjectState state;
  state.mode = native.st_mode;
  state.uid = native.st_uid;
  state.gid = native.st_gid;
  state.rdev_major = major(native.st_rdev);
  state.rdev_minor = minor(native.st_rdev);
  state.atime = native.st_atim;
  state.mtime = native.st_mtim;
  if (object.is(S_IFLNK)) {
    TRY(state.target, disk_.readlink(object.fd->fd(), object.name));
  }
  TRY(auto keys, visible_xattrs(object));
  for (auto& key : keys) {
    TRY(auto value, raw_xattr(object, key));
    state.xattrs.emplace(std::move(key), std::move(value));
  }
  return state;
}

Result<std::string> Store::default_acl(OpenInode& dir) {
  if (auto known = dir.default_acl()) return *std::move(known);
  auto acl = disk_.get_xattr(dir.fd(), std::string(kAclDefault));
  if (acl.failed_with(ENODATA) || acl.failed_with(EOPNOTSUPP)) acl = std::string();
  if (acl) dir.set_default_acl(*acl);
  return acl;
}

Result<Store::DirectoryFacts> Store::directory_facts(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  TRY(auto dir, directory(gfid));
  if (is_orphan_directory(gfid)) return Error(ENOENT);
  TRY(auto native, disk_.fstat(dir->fd()));
  TRY(auto acl, default_acl(*dir));
  return DirectoryFacts{native.st_mode, native.st_gid, static_cast<std::uint64_t>(native.st_size),
                        std::move(acl)};
}

Result<EntryName> Store::parent_of(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  TRY(auto dir, directory(gfid));
  TRY(auto packed, disk_.get_xattr(dir->fd(), layout::kParentKey));
  return layout::unpack_parent(packed);
}

Result<std::string> Store::readlink(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  TRY(auto object, locate(gfid));
  if (!object.is(S_IFLNK)) return Error(EINVAL);
  return disk_.readlink(object.fd->fd(), object.name);
}

Result<DirectoryPage> Store::list(const Gfid& gfid, std::uint64_t cookie, std::uint32_t max_entries,
                                  bool with_attributes) {
  FdRef dir;
  std::shared_ptr<const Listing> listing;
  {
    auto lock = stripes_.shared(Stripes::object(gfid));
    TRY(dir, directory(gfid));
    TRY(listing, listings_.get(gfid, [&] { return disk_.list(dir->fd()); }));
  }
  auto names = listing->page(cookie, std::max(max_entries, 1u));
  DirectoryPage page;
  page.end = names.empty() || &names.back() == &listing->names.back();
  page.entries.reserve(names.size());
  for (const auto& name : names) {
    auto entry = listed(dir, gfid, name, with_attributes);
    if (entry) {
      page.entries.push_back(std::move(*entry));
    } else if (entry.failed_with(EUCLEAN)) {
      log::warning("listing of directory {} leaves out: {}", gfid.hex(), entry.error().message());
    } else if (!entry.failed_with(ENOENT) && !entry.failed_with(ESTALE)) {  // else it has just gone
      return std::move(entry).error();
    }
  }
  return page;
}

Result<ListedEntry> Store::listed(const FdRef& dir, const Gfid& parent, const Listing::Name& name,
                                  bool with_attributes) {
  ListedEntry entry;
  entry.name = name.name;
  entry.cookie = name.cookie;
  if (with_attributes || name.type == DT_UNKNOWN) {
    TRY(entry.attr, entry_attr(dir, parent, name.name));
    return entry;
  }
  if (name.type == DT_LNK) {
    Entry marked;
    auto is_marked = read_mark(dir->fd(), name.name, marked);
    if (is_marked && *is_marked) {
      entry.attr = attr_of_entry(marked.gfid, marked.type, marked.elsewhere);
      return entry;
    }
  }
  const auto name_stripe = Stripes::name(parent, name.name);
  const auto tick = stripes_.now();
  auto found = find_entry(dir->fd(), name.name);
  if (!stripes_.unchanged_since(tick, name_stripe)) {  // it was replaced while it was read
    auto name_lock = stripes_.shared(name_stripe);
    found = find_entry(dir->fd(), name.name);
  }
  if (!found) return std::move(found).error();
  if (!*found) return Error(ENOENT);
  entry.attr = attr_of_entry((*found)->gfid, (*found)->type, (*found)->elsewhere);
  return entry;
}

Result<bool> Store::is_empty(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  TRY(auto dir, directory(gfid));
  TRY(auto entries, disk_.list(dir->fd()));
  return entries.empty();
}

Result<std::string> Store::get_xattr(const Gfid& gfid, const std::string& key) {
  if (layout::is_hidden(key) || is_brick_acl(key)) return Error(ENODATA);
  auto lock = stripes_.shared(Stripes::object(gfid));
  TRY(auto object, locate(gfid));
  auto value = raw_xattr(object, key);
  if (value.failed_with(EOPNOTSUPP)) return Error(ENODATA);  // an ACL of a symlink: cannot be there
  return value;
}

Result<std::vector<std::string>> Store::list_xattr(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  TRY(auto object, locate(gfid));
  return visible_xattrs(object);
}

Result<std::vector<std::string>> Store::visible_xattrs(const Object& object) {
  TRY(auto keys, object.name.empty() ? disk_.list_xattr(object.fd->fd())
                                     : disk_.list_xattr_at(object.fd->fd(), object.name));
  std::erase_if(keys, [](const std::string& key) { return layout::is_hidden(key) || is_brick_acl(key); });
  return keys;
}

Result<VolumeSpace> Store::statfs() {
  TRY(auto native, disk_.statfs(root_.fd()));
  VolumeSpace space;
  space.block_size = native.f_frsize ? static_cast<std::uint64_t>(native.f_frsize)
                                     : static_cast<std::uint64_t>(native.f_bsize);
  auto reserved = reserve_bytes(native.f_blocks * space.block_size) / space.block_size;
  space.blocks = native.f_blocks;
  space.blocks_free = native.f_bfree;
  space.blocks_available = native.f_bavail > reserved ? native.f_bavail - reserved : 0;
  space.files = native.f_files;
  space.files_free = native.f_ffree;
  return space;
}

Result<Buffer> Store::read(const Gfid& gfid, std::uint64_t offset, std::uint32_t length) {
  TRY(auto fd, shared_file(gfid));
  auto buffer = Buffer::allocate(length);
  TRY(auto size, disk_.pread(fd->fd(), buffer.writable(), offset));
  buffer.truncate(size);
  return buffer;
}

Result<Buffer> Store::read_cached(const Gfid& gfid, std::uint64_t offset, std::uint32_t length) {
  TRY(auto fd, shared_file(gfid));
  auto buffer = Buffer::allocate(length);
  TRY(auto size, disk_.pread_cached(fd->fd(), buffer.writable(), offset));
  buffer.truncate(size);
  return buffer;
}

Result<std::uint64_t> Store::seek(const Gfid& gfid, std::uint64_t offset, int whence) {
  TRY(auto fd, shared_file(gfid));
  return disk_.seek(fd->fd(), offset, whence);
}

}  // namespace polder
