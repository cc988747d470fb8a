// SPDX-License-Identifier: GPL-3.0-or-later
// Store: making and opening a brick, finding objects in it.
#include "core-volume/layers/store/store.h"

#include <dirent.h>

#include "base/log.h"

namespace polder {
namespace {

constexpr int kOpenDir = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK;
constexpr int kOpenFile = O_NOFOLLOW | O_NONBLOCK | O_NOATIME;
constexpr std::uint32_t kRootMode = 0755;

/// mkdir that finds its work done is content: a creation that was killed is begun again.
Result<void> ensure_dir(Disk& disk, int dir, const std::string& name) {
  auto made = disk.mkdir(dir, name, 0700);
  if (!made && !made.failed_with(EEXIST)) return std::move(made).with("create {}", name);
  return {};
}

/// A default ACL of the directory that holds the brick would be inherited by all that is made in it.
Result<void> drop_acls(Disk& disk, int fd) {
  for (const char* key : {"system.posix_acl_default", "system.posix_acl_access"}) {
    auto removed = disk.remove_xattr(fd, key);
    if (!removed && !removed.failed_with(ENODATA) && !removed.failed_with(EOPNOTSUPP))
      return std::move(removed).with("remove {}", key);
  }
  return {};
}

Result<void> refuse_used(Disk& disk, int root, const std::string& path) {
  if (auto text = disk.get_xattr(root, layout::kBrickKey)) {
    auto identity = parse_identity(*text);
    return Error(EEXIST).with("{} already is brick {} of volume {}", path,
                              identity ? identity->brick.hex() : "(unreadable)",
                              identity ? identity->volume.hex() : "(unreadable)");
  }
  TRY(auto entries, disk.list(root));
  for (const auto& entry : entries) {
    bool ours = entry.name == layout::kDirs || entry.name == layout::kState ||
                entry.name == layout::kRootLink || entry.name == "lost+found";
    if (!ours)
      return Error(ENOTEMPTY).with("{} is not empty (\"{}\"); a brick needs a directory of its own", path,
                                   entry.name);
  }
  return {};
}

Result<void> make_root_directory(Disk& disk, int root, std::uint64_t time_ns) {
  auto hex = Gfid::root().hex();
  auto path = std::string(layout::kDirs) + "/" + hex;
  TRY(ensure_dir(disk, root, path));
  TRY(auto dir, disk.open(root, path, kOpenDir));
  TRY(drop_acls(disk, dir.fd()));
  TRY(disk.chmod(dir.fd(), kRootMode));
  auto time = layout::to_timespec(time_ns);
  timespec times[2] = {time, time};
  TRY(disk.set_times(dir.fd(), times));
  layout::Meta meta{.gfid = Gfid::root(), .ctime_ns = time_ns, .mtime = time, .plain = true};
  TRY(disk.set_xattr(dir.fd(), layout::kMetaKey, layout::pack_meta(meta))
          .with("set {} (the brick's file system must support trusted extended attributes)",
                layout::kMetaKey));
  auto linked = disk.symlink(path, root, layout::kRootLink);
  if (!linked && !linked.failed_with(EEXIST)) return linked;
  return {};
}

Result<void> write_identity(Disk& disk, int root, const BrickIdentity& identity) {
  auto text = format_identity(identity);
  TRY(auto file, disk.open(root, layout::kIdentity, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  TRY(disk.pwrite(file.fd(), as_bytes(text), 0));
  TRY(disk.fsync(file.fd()));
  // Last: its presence says that the brick is complete.
  TRY(disk.set_xattr(root, layout::kBrickKey, text));
  return disk.syncfs(root);
}

Result<DiskFile> open_brick_root(Disk& disk, const std::string& path) {
  if (!path.starts_with('/')) return Error(EINVAL).with("brick path \"{}\" is not absolute", path);
  auto root = disk.open(Disk::kNoDir, path, kOpenDir);
  if (root.failed_with(ENOENT))
    return Error(ENOENT).with("brick directory {} does not exist; is its file system mounted?", path);
  if (!root) return std::move(root).error().with("open brick {}", path);
  return root;
}

Result<void> lock_brick(Disk& disk, int root, const std::string& path) {
  auto locked = disk.lock_exclusive(root);
  if (locked.failed_with(EWOULDBLOCK))
    return Error(EBUSY).with("brick {} is in use by another process", path);
  return std::move(locked).with("lock brick {}", path);
}

}  // namespace

Result<void> Store::format(Disk& disk, const std::string& path, const BrickIdentity& identity,
                           std::uint64_t time_ns) {
  if (!path.starts_with('/')) return Error(EINVAL).with("brick path \"{}\" is not absolute", path);
  TRY(refuse_nested(disk, path));
  TRY(ensure_dir(disk, Disk::kNoDir, path));
  TRY(auto root, open_brick_root(disk, path));
  TRY(lock_brick(disk, root.fd(), path));
  TRY(refuse_used(disk, root.fd(), path));
  TRY(disk.chmod(root.fd(), 0700));
  TRY(drop_acls(disk, root.fd()));
  for (const char* name :
       {layout::kDirs, layout::kState, layout::kIndex, layout::kTmp, layout::kOrphans, layout::kChangelog}) {
    TRY(ensure_dir(disk, root.fd(), name).with("brick {}", path));
  }
  if (identity.set == 0) {
    TRY(make_root_directory(disk, root.fd(), time_ns).with("brick {}", path));
  }
  return write_identity(disk, root.fd(), identity).with("brick {}", path);
}

Result<std::unique_ptr<Store>> Store::open(Disk& disk, const std::string& path, const StoreOptions& options) {
  auto store = std::unique_ptr<Store>(new Store(disk, path, options));
  TRY(store->root_, open_brick_root(disk, path));
  TRY(store->identity_, read_identity(disk, store->root_.fd(), path));
  TRY(check_identity(path, store->identity_, options.volume, options.brick));
  TRY(refuse_nested(disk, path));
  if (!options.read_only) {
    TRY(lock_brick(disk, store->root_.fd(), path));
  }
  TRY(store->open_directories().with("brick {}", path));
  if (!options.read_only) {
    TRY(store->empty_tmp().with("empty {}/{}", path, layout::kTmp));
    TRY(store->tidy_away().with("tidy {}/{}", path, layout::kAway));
  }
  TRY(store->load_orphan_directories());
  TRY(store->load_marks().with("open brick {}", path));
  return store;
}

Store::Store(Disk& disk, std::string path, const StoreOptions& options)
    : disk_(disk),
      path_(std::move(path)),
      read_only_(options.read_only),
      placement_(options.placement),
      fds_(options.open_files) {}

Store::~Store() = default;

Result<void> Store::open_directories() {
  struct Wanted {
    const char* name;
    DiskFile* file;
  };
  for (auto [name, file] : {Wanted{layout::kDirs, &dirs_},
                            {layout::kIndex, &index_root_},
                            {layout::kTmp, &tmp_},
                            {layout::kOrphans, &orphans_}}) {
    auto opened = disk_.open(root_.fd(), name, kOpenDir);
    if (!opened) return std::move(opened).error().with("open {}", name);
    *file = std::move(*opened);
  }
  // Bricks of a volume of one set, and those of earlier versions, do not have these.
  for (auto [name, file] : {Wanted{layout::kAway, &away_}, {layout::kReplaced, &replaced_}}) {
    if (placement_ && !read_only_) {
      TRY(ensure_dir(disk_, root_.fd(), name));
    }
    auto opened = disk_.open(root_.fd(), name, kOpenDir);
    if (!opened && !opened.failed_with(ENOENT)) return std::move(opened).error().with("open {}", name);
    if (opened) *file = std::move(*opened);
  }
  return {};
}

/// How the brick was left. That it is suspect outlives this process, until it was compared: with others that
/// may be away for long.
Result<void> Store::load_marks() {
  auto mark = [&](const std::string& key) { return disk_.get_xattr_at(root_.fd(), layout::kState, key); };
  const auto suspect = mark(layout::kSuspectKey);
  TRY(cache_, page_cache(disk_, {identity_.lineage, identity_.set}));
  const auto last = mark(layout::kBootKey);
  same_boot_ = last && *last == cache_.id;
  was_clean_ = mark(layout::kCleanKey).has_value();
  const bool lost_power = last && !same_boot_ && !was_clean_;
  suspect_ = lost_power || suspect;
  if (suspect) suspect_since_ = std::strtoull(suspect->c_str(), nullptr, 10);
  last_loss_ = lost_power ? cache_.id : mark(layout::kLossKey).value_or("");
  if (read_only_) return {};
  if (lost_power) {
    TRY(disk_.set_xattr_at(root_.fd(), layout::kState, layout::kLossKey, cache_.id)
            .with("note that brick {} lost power", path_));
  }
  if (lost_power && !suspect) {
    TRY(mark_suspect());
  }
  return drop_mark(layout::kCleanKey);
}

Result<void> Store::drop_mark(const std::string& key) {
  auto removed = disk_.remove_xattr_at(root_.fd(), layout::kState, key);
  if (removed.failed_with(ENODATA)) return {};
  return removed;
}

/// All of them, whatever is kept of the rest.
Result<void> Store::sync_marks() {
  TRY(auto state, disk_.open(root_.fd(), layout::kState, kOpenDir));
  return durable(disk_.fsync(state.fd())).with("sync the marks of brick {}", path_);
}

Result<void> Store::mark_suspect() {
  return disk_.set_xattr_at(root_.fd(), layout::kState, layout::kSuspectKey, std::to_string(suspect_since_))
      .with("note that brick {} lost power", path_);
}

Result<void> Store::compared() {
  TRY(refuse_if_read_only());
  suspect_ = false;
  suspect_since_ = UINT64_MAX;
  return drop_mark(layout::kSuspectKey).with("note that brick {} was compared", path_);
}

Result<void> Store::remember_boot(std::uint64_t last_index) {
  TRY(refuse_if_read_only());
  if (suspect_ && last_index < suspect_since_) {
    suspect_since_ = last_index;
    TRY(mark_suspect());
  }
  TRY(disk_.set_xattr_at(root_.fd(), layout::kState, layout::kBootKey, cache_.id)
          .with("remember the boot id of brick {}", path_));
  return sync_marks();
}

Result<void> Store::mark_clean() {
  TRY(refuse_if_read_only());
  TRY(syncfs());
  return disk_.set_xattr_at(root_.fd(), layout::kState, layout::kCleanKey, "1")
      .with("mark brick {} as closed", path_);
}

Result<void> Store::refuse_if_read_only() const {
  if (!read_only_) return {};
  return Error(EROFS).with("brick {} is a snapshot", path_);
}

Result<void> Store::empty_tmp() {
  TRY(auto entries, disk_.list(tmp_.fd()));
  for (const auto& entry : entries) {
    TRY(disk_.unlink(tmp_.fd(), entry.name, entry.type == DT_DIR ? AT_REMOVEDIR : 0));
  }
  return {};
}

/// Directories of other sets in which no object of ours has a name any more.
Result<void> Store::tidy_away() {
  if (!away_) return {};
  TRY(auto entries, disk_.list(away_.fd()));
  for (const auto& entry : entries) {
    auto removed = disk_.unlink(away_.fd(), entry.name, AT_REMOVEDIR);
    if (!removed && !removed.failed_with(ENOTEMPTY) && !removed.failed_with(EEXIST)) return removed;
  }
  return {};
}

Result<FdRef> Store::away(const Gfid& parent, bool create) {
  if (auto cached = fds_.get(FdCache::Kind::kAway, parent)) return cached;
  if (!away_) return FdRef();
  auto name = parent.hex();
  if (create) {
    TRY(ensure_dir(disk_, away_.fd(), name));
  }
  auto opened = disk_.open(away_.fd(), name, kOpenDir);
  if (opened.failed_with(ENOENT)) return FdRef();
  if (!opened) return std::move(opened).error().with("open {}/{}", layout::kAway, name);
  return fds_.put(FdCache::Kind::kAway, parent, std::move(*opened));
}

Result<FdRef> Store::directory(const Gfid& gfid) {
  if (auto cached = fds_.get(FdCache::Kind::kDirectory, gfid)) return cached;
  auto opened = disk_.open(dirs_.fd(), gfid.hex(), kOpenDir);
  if (opened.failed_with(ENOENT)) return not_a_directory(gfid);
  if (!opened) return std::move(opened).error().with("open directory {}", gfid.hex());
  return fds_.put(FdCache::Kind::kDirectory, gfid, std::move(*opened));
}

Result<FdRef> Store::not_a_directory(const Gfid& gfid) {
  auto dir = index(gfid, false);
  if (!dir) return std::move(dir).error();
  if (disk_.stat((*dir)->fd(), gfid.hex())) return Error(ENOTDIR);
  return Error(ESTALE);
}

Result<FdRef> Store::index(const Gfid& gfid, bool create) {
  Gfid slot;
  slot.bytes[0] = gfid.bytes[0];
  slot.bytes[1] = gfid.bytes[1];
  if (auto cached = fds_.get(FdCache::Kind::kIndex, slot)) return cached;
  auto path = layout::index_dir(gfid);
  auto opened = disk_.open(index_root_.fd(), path, kOpenDir);
  if (opened.failed_with(ENOENT)) {
    if (!create) return Error(ESTALE);
    TRY(ensure_dir(disk_, index_root_.fd(), layout::index_parent(gfid)));
    TRY(ensure_dir(disk_, index_root_.fd(), path));
    opened = disk_.open(index_root_.fd(), path, kOpenDir);
  }
  if (!opened) return std::move(opened).error().with("open index directory {}", path);
  return fds_.put(FdCache::Kind::kIndex, slot, std::move(*opened));
}

Result<Store::Object> Store::locate(const Gfid& gfid) {
  for (auto kind : {FdCache::Kind::kFile, FdCache::Kind::kDirectory}) {
    if (auto cached = fds_.get(kind, gfid)) {
      TRY(auto native, disk_.fstat(cached->fd()));
      return Object{std::move(cached), {}, native};
    }
  }
  auto index_dir = index(gfid, false);
  if (!index_dir && !index_dir.failed_with(ESTALE)) return std::move(index_dir).error();
  if (index_dir) {
    auto native = disk_.stat((*index_dir)->fd(), gfid.hex());
    if (native) return Object{std::move(*index_dir), gfid.hex(), *native};
    if (!native.failed_with(ENOENT)) return std::move(native).error().with("stat object {}", gfid.hex());
  }
  TRY(auto dir, directory(gfid));
  TRY(auto native, disk_.fstat(dir->fd()));
  return Object{std::move(dir), {}, native};
}

Result<FdRef> Store::file(const Gfid& gfid) {
  if (auto cached = fds_.get(FdCache::Kind::kFile, gfid)) return cached;
  TRY(auto object, locate(gfid));
  // Asked before opening: opening a device acts on it.
  if (object.is(S_IFDIR)) return Error(EISDIR);
  if (!object.is(S_IFREG)) return Error(EINVAL);
  auto opened = disk_.open(object.fd->fd(), object.name, kOpenFile | (read_only_ ? O_RDONLY : O_RDWR));
  if (!opened) return std::move(opened).error().with("open object {}", gfid.hex());
  return fds_.put(FdCache::Kind::kFile, gfid, std::move(*opened));
}

Result<FdRef> Store::shared_directory(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  return directory(gfid);
}

Result<FdRef> Store::shared_file(const Gfid& gfid) {
  auto lock = stripes_.shared(Stripes::object(gfid));
  return file(gfid);
}

Result<std::optional<Store::Entry>> Store::find_entry(int dir, const std::string& name) {
  const auto began = metas_.now();
  auto native = disk_.stat(dir, name);
  if (native.failed_with(ENOENT)) return std::nullopt;
  if (!native) return std::move(native).error();
  Entry entry;
  entry.native = *native;
  entry.type = native->st_mode & S_IFMT;
  if (S_ISLNK(native->st_mode)) {
    auto marked = read_mark(dir, name, entry);
    if (marked.failed_with(ENOENT)) return std::nullopt;
    if (!marked) return std::move(marked).error();
    if (*marked) return entry;
  }
  if (auto known = metas_.find(native->st_ino)) {
    entry.meta = *known;
    entry.gfid = known->gfid;
    return entry;
  }
  auto packed = disk_.get_xattr_at(dir, name, layout::kMetaKey);
  if (packed.failed_with(ENOENT)) return std::nullopt;
  if (packed.failed_with(ENODATA))
    return Error(EUCLEAN).with("\"{}\" in brick {} was not made by Polder (it has no {})", name, path_,
                               layout::kMetaKey);
  if (!packed) return std::move(packed).error();
  TRY(entry.meta, layout::unpack_meta(*packed));
  entry.gfid = entry.meta.gfid;
  entry.look_began = began;
  return entry;
}

/// The name showed this object during the whole look.
void Store::remember_meta(const Entry& entry) {
  if (entry.look_began) metas_.put(*entry.look_began, entry.native.st_ino, entry.meta);
}

Result<std::optional<Store::Entry>> Store::find_held_entry(const FdRef& dir, const EntryName& at,
                                                           const Stripes::Exclusive& held) {
  const auto name_stripe = Stripes::name(at.parent, at.name);
  if (auto seen = seen_names_.find(name_stripe, at)) {
    const bool same_object =
        !seen->entry || held.unchanged_since(seen->tick, Stripes::object(seen->entry->gfid));
    if (same_object && held.unchanged_since(seen->tick, name_stripe)) return std::move(seen->entry);
  }
  return find_entry(dir->fd(), at.name);
}

Result<Store::Object> Store::object_of(const Entry& entry) {
  // What changes through the name must be noted with the open file.
  if (auto cached = fds_.get(FdCache::Kind::kFile, entry.gfid))
    return Object{std::move(cached), {}, entry.native, entry.meta};
  TRY(auto dir, index(entry.gfid, false));
  return Object{std::move(dir), entry.gfid.hex(), entry.native, entry.meta};
}

/// Whether a symlink is an entry of a directory, or of an object elsewhere, and which. ENOENT.
Result<bool> Store::read_mark(int dir, const std::string& name, Entry& entry) {
  auto mark = disk_.get_xattr_at(dir, name, layout::kDirKey);
  if (mark) {
    TRY(entry.gfid, layout::unpack_dir_mark(*mark));
    entry.directory = true;
    entry.type = S_IFDIR;
    entry.elsewhere = !owns(entry.gfid);
    return true;
  }
  if (!mark.failed_with(ENODATA)) return std::move(mark).error();
  if (!placement_) return false;
  mark = disk_.get_xattr_at(dir, name, layout::kEntryKey);
  if (mark.failed_with(ENODATA)) return false;
  if (!mark) return std::move(mark).error();
  TRY(auto unpacked, layout::unpack_entry_mark(*mark));
  entry.gfid = unpacked.gfid;
  entry.type = unpacked.mode & S_IFMT;
  entry.elsewhere = true;
  return true;
}

Result<std::string> Store::raw_xattr(const Object& object, const std::string& key) {
  if (object.name.empty()) return disk_.get_xattr(object.fd->fd(), key);
  return disk_.get_xattr_at(object.fd->fd(), object.name, key);
}

Result<layout::Meta> Store::meta_of(const Object& object) {
  if (object.meta) return *object.meta;
  if (object.name.empty()) {
    if (auto known = object.fd->meta()) return *known;
  }
  if (auto known = metas_.find(object.native.st_ino)) return *known;
  const auto began = metas_.now();
  auto packed = raw_xattr(object, layout::kMetaKey);
  if (packed.failed_with(ENODATA))
    return Error(EUCLEAN).with("an object of brick {} has lost its {}", path_, layout::kMetaKey);
  if (!packed) return std::move(packed).error();
  TRY(auto meta, layout::unpack_meta(*packed));
  if (object.name.empty()) object.fd->set_meta(meta);
  metas_.put(began, object.native.st_ino, meta);
  return meta;
}

Result<void> Store::fsync(const Gfid& gfid, bool data_only, std::uint64_t durable_index) {
  FdRef fd, index_dir;
  {
    auto lock = stripes_.shared(Stripes::object(gfid));
    TRY(auto object, locate(gfid));
    // Nothing of a symlink or a device can be synced by itself; its name and attributes are in the log.
    if (!object.is(S_IFREG) && !object.is(S_IFDIR)) return {};
    if (object.is(S_IFREG)) {
      TRY(fd, file(gfid));
      TRY(auto meta, meta_of({fd, {}, {}}));
      if (meta.destructive_index > durable_index) {
        TRY(index_dir, index(gfid, false));
      }
    } else {
      fd = object.fd;
    }
  }
  TRY(durable(data_only && !index_dir ? disk_.fdatasync(fd->fd()) : disk_.fsync(fd->fd())));
  return index_dir ? durable(disk_.fsync(index_dir->fd())) : Result<void>();
}

Result<void> Store::syncfs() {
  return durable(disk_.syncfs(root_.fd())).with("sync the file system of brick {}", path_);
}

Result<void> Store::durable(Result<void> synced) {
  if (!synced && failed_sync_) failed_sync_();
  return synced;
}

}  // namespace polder
