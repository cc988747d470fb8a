// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/export.h"

#include <fmt/ranges.h>

#include <unordered_map>

#include "core-volume/layer/brick_xattrs.h"
#include "core-volume/layers/store/identity.h"
#include "core-volume/layers/store/layout.h"

namespace polder {
namespace {

constexpr int kOpenDir = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK;
constexpr std::size_t kCopyBytes = 1 << 20;

/// Everything is named relative to an open directory: paths may be longer than PATH_MAX.
class Export {
 public:
  Export(Disk& disk, const std::string& destination) : disk_(disk), destination_(destination) {}

  Result<void> open_brick(const std::string& path);
  Result<ExportReport> run();

 private:
  struct Brick {
    std::string path;
    BrickIdentity identity;
    DiskFile root;
  };
  struct Subdirectory {
    std::string name;
    Gfid gfid;
  };
  /// One level of the walk.
  struct Level {
    DiskFile from, to;
    std::vector<Subdirectory> todo;
  };
  /// Where an object that is no directory is found.
  struct Source {
    int dir = 0;
    std::string name;
    struct stat native{};
  };

  Result<DiskFile> open_destination();
  Result<DiskFile> open_directory(const Gfid& gfid);
  Result<void> enter(DiskFile from, DiskFile to);
  Result<void> go_down(Level& level, const Subdirectory& into);
  void miss(const std::string& name);
  Result<void> leave();
  Result<void> copy_entry(Level& level, const std::string& name);
  Result<void> copy_elsewhere(Level& level, const std::string& name, const std::string& mark);
  Result<void> copy_named(Level& level, const Source& source, const std::string& name);
  Result<void> link_first(const std::vector<std::string>& first, Level& level, const std::string& name);
  Result<void> copy_object(Level& level, const Source& source, const std::string& name);
  Result<void> copy_regular(Level& level, const Source& source, const std::string& name);
  Result<void> copy_bytes(int from, int to, std::uint64_t size);
  Result<void> copy_attributes(const Source& source, int to, const std::string& name);
  Result<void> copy_xattrs(const Source& source, int to, const std::string& name);

  Disk& disk_;
  const std::string destination_;
  std::vector<Brick> bricks_;
  DiskFile destination_root_;
  std::vector<Level> levels_;
  std::vector<std::string> path_;  // of the present level
  /// Where an object with several names went first, its name last.
  std::unordered_map<Gfid, std::vector<std::string>> first_names_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(kCopyBytes);
  ExportReport report_;
};

Result<void> Export::open_brick(const std::string& path) {
  if (destination_ == path || destination_.starts_with(path + "/"))
    return Error(EINVAL).with("destination {} lies inside brick {}", destination_, path);
  Brick brick;
  brick.path = path;
  auto root = disk_.open(Disk::kNoDir, path, kOpenDir);
  if (!root) return std::move(root).error().with("open brick {}", path);
  brick.root = std::move(*root);
  TRY(brick.identity, read_identity(disk_, brick.root.fd(), path));
  if (!bricks_.empty()) {
    TRY(check_identity(path, brick.identity, bricks_.front().identity.volume, {}));
  }
  auto locked = disk_.lock_exclusive(brick.root.fd());
  if (locked.failed_with(EWOULDBLOCK))
    return Error(EBUSY).with("brick {} is in use; stop the volume first", path);
  TRY(std::move(locked).with("lock brick {}", path));
  report_.sets.push_back(brick.identity.set);
  bricks_.push_back(std::move(brick));
  return {};
}

Result<DiskFile> Export::open_destination() {
  auto made = disk_.mkdir(Disk::kNoDir, destination_, 0700);
  if (!made && !made.failed_with(EEXIST)) return std::move(made).error().with("create {}", destination_);
  auto dir = disk_.open(Disk::kNoDir, destination_, kOpenDir);
  if (!dir) return std::move(dir).error().with("open {}", destination_);
  TRY(auto entries, disk_.list(dir->fd()));
  if (!entries.empty())
    return Error(ENOTEMPTY).with("{} is not empty; export makes a tree of its own", destination_);
  return dir;
}

Result<ExportReport> Export::run() {
  TRY(destination_root_, open_destination());
  TRY(auto to, disk_.open(Disk::kNoDir, destination_, kOpenDir));
  auto from = open_directory(Gfid::root());
  if (from.failed_with(ENOENT))
    return Error(ENOENT).with(
        "the root directory is in none of the bricks given; name the brick of set 0, too");
  if (!from) return std::move(from).error();
  TRY(enter(*std::move(from), std::move(to)));
  while (!levels_.empty()) {
    auto& level = levels_.back();
    if (level.todo.empty()) {
      TRY(leave());
      continue;
    }
    auto next = std::move(level.todo.back());
    level.todo.pop_back();
    TRY(go_down(level, next));
  }
  return std::move(report_);
}

Result<void> Export::go_down(Level& level, const Subdirectory& into) {
  auto from = open_directory(into.gfid);
  if (from.failed_with(ENOENT)) {
    miss(into.name);
    return {};
  }
  if (!from) return std::move(from).error().with("{}/{}", fmt::join(path_, "/"), into.name);
  TRY(disk_.mkdir(level.to.fd(), into.name, 0700).with("create {}", into.name));
  TRY(auto to, disk_.open(level.to.fd(), into.name, kOpenDir));
  path_.push_back(into.name);
  return enter(*std::move(from), std::move(to));
}

void Export::miss(const std::string& name) {
  std::string path;
  for (const auto& part : path_) path += part + "/";
  report_.missing.push_back(path + name);
}

Result<DiskFile> Export::open_directory(const Gfid& gfid) {
  for (const auto& brick : bricks_) {
    auto dir = disk_.open(brick.root.fd(), std::string(layout::kDirs) + "/" + gfid.hex(), kOpenDir);
    if (dir || !dir.failed_with(ENOENT)) return dir;
  }
  return Error(ENOENT);
}

/// Copies what is directly in the directory; its subdirectories wait in the level.
Result<void> Export::enter(DiskFile from, DiskFile to) {
  levels_.push_back({std::move(from), std::move(to), {}});
  ++report_.directories;
  auto& level = levels_.back();
  TRY(auto entries, disk_.list(level.from.fd()));
  for (const auto& entry : entries) {
    TRY(copy_entry(level, entry.name).with("{}/{}", fmt::join(path_, "/"), entry.name));
  }
  return {};
}

/// Last, because making the entries has changed the directory's times and a mode may forbid making any.
Result<void> Export::leave() {
  auto& level = levels_.back();
  TRY(auto native, disk_.fstat(level.from.fd()));
  TRY(copy_attributes({level.from.fd(), {}, native}, level.to.fd(), {}).with("{}", fmt::join(path_, "/")));
  levels_.pop_back();
  if (!path_.empty()) path_.pop_back();
  return {};
}

Result<void> Export::copy_entry(Level& level, const std::string& name) {
  TRY(auto native, disk_.stat(level.from.fd(), name));
  if (S_ISLNK(native.st_mode)) {
    auto mark = disk_.get_xattr_at(level.from.fd(), name, layout::kDirKey);
    if (mark) {
      TRY(auto gfid, layout::unpack_dir_mark(*mark));
      level.todo.push_back({name, gfid});
      return {};
    }
    if (!mark.failed_with(ENODATA)) return std::move(mark).error();
    mark = disk_.get_xattr_at(level.from.fd(), name, layout::kEntryKey);
    if (mark) return copy_elsewhere(level, name, *mark);
    if (!mark.failed_with(ENODATA)) return std::move(mark).error();
  }
  return copy_named(level, {level.from.fd(), name, native}, name);
}

/// The entry of an object that is on another set: by its index link there.
Result<void> Export::copy_elsewhere(Level& level, const std::string& name, const std::string& mark) {
  TRY(auto entry, layout::unpack_entry_mark(mark));
  const auto place = std::string(layout::kIndex) + "/" + layout::index_dir(entry.gfid);
  for (const auto& brick : bricks_) {
    auto dir = disk_.open(brick.root.fd(), place, kOpenDir);
    if (dir.failed_with(ENOENT)) continue;
    if (!dir) return std::move(dir).error();
    auto native = disk_.stat(dir->fd(), entry.gfid.hex());
    if (native.failed_with(ENOENT)) continue;
    if (!native) return std::move(native).error();
    return copy_named(level, {dir->fd(), entry.gfid.hex(), *native}, name);
  }
  miss(name);
  return {};
}

Result<void> Export::copy_named(Level& level, const Source& source, const std::string& name) {
  TRY(auto packed, disk_.get_xattr_at(source.dir, source.name, layout::kMetaKey));
  TRY(auto meta, layout::unpack_meta(packed));
  const bool several_names = source.native.st_nlink > 2;  // one is the index link
  if (several_names) {
    auto first = first_names_.find(meta.gfid);
    if (first != first_names_.end()) return link_first(first->second, level, name);
  }
  TRY(copy_object(level, source, name));
  ++report_.files;
  if (!several_names) return {};
  auto path = path_;
  path.push_back(name);
  first_names_.emplace(meta.gfid, std::move(path));
  return {};
}

Result<void> Export::link_first(const std::vector<std::string>& first, Level& level,
                                const std::string& name) {
  TRY(auto dir, disk_.open(destination_root_.fd(), ".", kOpenDir));
  for (std::size_t i = 0; i + 1 < first.size(); ++i) {
    TRY(dir, disk_.open(dir.fd(), first[i], kOpenDir));
  }
  ++report_.links;
  return disk_.link(dir.fd(), first.back(), level.to.fd(), name);
}

Result<void> Export::copy_object(Level& level, const Source& source, const std::string& name) {
  const auto& native = source.native;
  if (S_ISREG(native.st_mode)) return copy_regular(level, source, name);
  if (S_ISLNK(native.st_mode)) {
    TRY(auto target, disk_.readlink(source.dir, source.name));
    TRY(disk_.symlink(target, level.to.fd(), name));
  } else {
    TRY(disk_.mknod(level.to.fd(), name, native.st_mode & S_IFMT, native.st_rdev));
  }
  return copy_attributes(source, level.to.fd(), name);
}

Result<void> Export::copy_regular(Level& level, const Source& source, const std::string& name) {
  {
    TRY(auto from, disk_.open(source.dir, source.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    TRY(auto to, disk_.open(level.to.fd(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    const auto size = static_cast<std::uint64_t>(source.native.st_size);
    TRY(copy_bytes(from.fd(), to.fd(), size));
    TRY(disk_.truncate(to.fd(), size));
  }
  return copy_attributes(source, level.to.fd(), name);
}

Result<void> Export::copy_bytes(int from, int to, std::uint64_t size) {
  for (std::uint64_t at = 0; at < size;) {
    auto data = disk_.seek(from, at, SEEK_DATA);
    if (data.failed_with(ENXIO)) break;  // a hole up to the end
    TRY(at, std::move(data));
    TRY(auto end, disk_.seek(from, at, SEEK_HOLE));
    while (at < end) {
      auto want = std::min<std::uint64_t>(buffer_.size(), end - at);
      TRY(auto count, disk_.pread(from, Bytes(buffer_).first(want), at));
      if (count == 0) return {};
      TRY(disk_.pwrite(to, ConstBytes(buffer_).first(count), at));
      at += count;
      report_.bytes += count;
    }
  }
  return {};
}

/// Empty names: of the two open directories themselves. Owner, xattrs, mode, times: each after what disturbs
/// it.
Result<void> Export::copy_attributes(const Source& source, int to, const std::string& name) {
  const auto& native = source.native;
  TRY(disk_.chown_at(to, name, native.st_uid, native.st_gid).with("set owner"));
  TRY(copy_xattrs(source, to, name));
  if (!S_ISLNK(native.st_mode)) {
    TRY((name.empty() ? disk_.chmod(to, native.st_mode & 07777)
                      : disk_.chmod_at(to, name, native.st_mode & 07777))
            .with("set mode"));
  }
  timespec times[2] = {native.st_atim, native.st_mtim};
  return disk_.set_times_at(to, name, times).with("set times");
}

Result<void> Export::copy_xattrs(const Source& source, int to, const std::string& name) {
  TRY(auto keys, disk_.list_xattr_at(source.dir, source.name));
  for (const auto& key : keys) {
    if (layout::is_hidden(key) || is_brick_acl(key)) continue;
    TRY(auto value, disk_.get_xattr_at(source.dir, source.name, key));
    TRY(disk_.set_xattr_at(to, name, key, value).with("set {}", key));
  }
  return {};
}

}  // namespace

Result<ExportReport> export_bricks(Disk& disk, const std::vector<std::string>& bricks,
                                   const std::string& destination) {
  if (bricks.empty()) return Error(EINVAL).with("no brick to export");
  if (!destination.starts_with('/'))
    return Error(EINVAL).with("destination \"{}\" is not absolute", destination);
  Export run(disk, destination);
  for (const auto& brick : bricks) {
    TRY(run.open_brick(brick));
  }
  return run.run();
}

}  // namespace polder
