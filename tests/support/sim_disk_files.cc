// SPDX-License-Identifier: GPL-3.0-or-later
// SimDisk: the calls about one object: bytes, durability, attributes, extended attributes.
#include <linux/falloc.h>
#include <linux/limits.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "tests/support/sim_acl.h"
#include "tests/support/sim_disk_state.h"

namespace polder {

namespace {

constexpr std::uint64_t kMaxOffset = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kPage = SparseData::kPageBytes;
constexpr std::uint64_t kEntry_bytes = 32;  // about what a name takes in a directory
constexpr std::uint64_t kBlocksPerPage = kPage / 512;

}  // namespace

// ---- bytes

Result<SimHandle> SimDisk::State::file_for_reading(int fd) {
  TRY(auto found, handle(fd));
  if (S_ISFIFO(meta(found.inode).mode)) return Error(ESPIPE);
  if (!found.readable()) return Error(EBADF);
  if (meta(found.inode).is_directory()) return Error(EISDIR);
  return found;
}

Result<SimHandle> SimDisk::State::file_for_writing(int fd) {
  TRY(auto found, handle(fd));
  if (S_ISFIFO(meta(found.inode).mode)) return Error(ESPIPE);
  if (!found.writable()) return Error(EBADF);
  return found;
}

void SimDisk::State::changed(Inode inode, std::vector<SimTree::Edit> edits) {
  SimMeta after = meta(inode);
  after.mtime = after.ctime = now();
  edits.emplace_back(SimTree::SetMeta{inode, after});
  tree.commit(std::move(edits));
}

Result<std::size_t> SimDisk::pread(int fd, Bytes out, std::uint64_t offset) {
  Call call(*this);
  TRY(call.allowed);
  if (offset > kMaxOffset) return Error(EINVAL);
  TRY(auto file, call.state.file_for_reading(fd));
  return call.state.tree.node(file.inode).data.read(out, offset);
}

Result<void> SimDisk::State::write(int fd, std::span<const ConstBytes> data, std::uint64_t offset) {
  if (offset > kMaxOffset) return Error(EINVAL);
  TRY(auto file, file_for_writing(fd));
  auto& node = tree.node(file.inode);
  if (file.flags & O_APPEND) offset = node.data.size();
  for (ConstBytes part : data) {
    if (part.empty()) continue;
    if (offset > kMaxOffset - part.size()) return Error(EFBIG);
    auto written = tree.write(file.inode, offset, part, [&] { return has_room(); });
    // Not a transaction: a sync of the file takes the times along.
    if (written > 0) node.meta.mtime = node.meta.ctime = now();
    if (written < part.size()) return Error(ENOSPC);
    offset += written;
  }
  return {};
}

Result<void> SimDisk::pwrite(int fd, ConstBytes data, std::uint64_t offset) {
  Change call(*this);
  TRY(call.allowed);
  return call.state.write(fd, std::span(&data, 1), offset);
}

Result<void> SimDisk::pwritev(int fd, std::span<const ConstBytes> data, std::uint64_t offset) {
  Change call(*this);
  TRY(call.allowed);
  return call.state.write(fd, data, offset);
}

Result<void> SimDisk::truncate(int fd, std::uint64_t size_bytes) {
  Change call(*this);
  TRY(call.allowed);
  if (size_bytes > kMaxOffset) return Error(EINVAL);
  TRY(auto found, call.state.handle(fd));
  if (!found.writable() || !call.state.meta(found.inode).is_file()) return Error(EINVAL);
  call.state.changed(found.inode, {SimTree::SetSize{found.inode, size_bytes}});
  return {};
}

Result<void> SimDisk::fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto found, call.state.handle(fd));
  if (offset > kMaxOffset || length == 0 || length > kMaxOffset) return Error(EINVAL);
  bool keep_size = mode & FALLOC_FL_KEEP_SIZE;
  int what = mode & ~FALLOC_FL_KEEP_SIZE;
  bool zeroes = what == FALLOC_FL_PUNCH_HOLE || what == FALLOC_FL_ZERO_RANGE;
  if ((what != 0 && !zeroes) || (what == FALLOC_FL_PUNCH_HOLE && !keep_size)) return Error(EOPNOTSUPP);
  if (!found.writable()) return Error(EBADF);
  TRY(auto file, call.state.file_for_writing(fd));
  if (offset > kMaxOffset - length) return Error(EFBIG);
  std::uint64_t size = call.state.tree.node(file.inode).data.size();
  std::vector<SimTree::Edit> edits;
  if (zeroes) edits.emplace_back(SimTree::ZeroRange{file.inode, offset, offset + length});
  if (!keep_size && offset + length > size) edits.emplace_back(SimTree::SetSize{file.inode, offset + length});
  if (what == 0 && call.state.capacity_pages != 0 &&
      call.state.tree.used_pages() + length / kPage > call.state.capacity_pages)
    return Error(ENOSPC);
  call.state.changed(file.inode, std::move(edits));
  return {};
}

Result<std::uint64_t> SimDisk::seek(int fd, std::uint64_t offset, int whence) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto found, call.state.handle(fd));
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return Error(EINVAL);
  const auto& node = call.state.tree.node(found.inode);
  if (!node.meta.is_file()) return Error(node.meta.is_directory() ? EINVAL : ESPIPE);
  const auto& data = node.data;
  if (offset >= data.size()) return Error(ENXIO);
  if (whence == SEEK_HOLE) return data.next_hole(offset);
  std::uint64_t at = data.next_data(offset);
  if (at == data.size()) return Error(ENXIO);
  return at;
}

Result<void> SimDisk::clone_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                                  std::uint64_t length) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto source, call.state.file_for_reading(from));
  TRY(auto target, call.state.file_for_writing(to));
  if (!call.state.reflink) return Error(EOPNOTSUPP);
  auto& tree = call.state.tree;
  std::uint64_t source_size = tree.node(source.inode).data.size();
  if (from_offset > source_size || length > source_size - from_offset) return Error(EINVAL);
  if (length == 0) length = source_size - from_offset;
  bool to_end = from_offset + length == source_size;
  std::uint64_t target_size = tree.node(target.inode).data.size();
  // A part of a page may be shared only where the target has nothing behind it.
  bool aligned = length % kPage == 0 || (to_end && to_offset + length >= target_size);
  if (from_offset % kPage != 0 || to_offset % kPage != 0 || !aligned) return Error(EINVAL);
  if (length == 0) return {};
  std::vector<SparseData::PageRef> pages;
  for (std::uint64_t done = 0; done < length; done += kPage)
    pages.push_back(tree.node(source.inode).data.page((from_offset + done) / kPage));
  std::vector<SimTree::Edit> edits{SimTree::ZeroRange{target.inode, to_offset, to_offset + length}};
  if (to_offset + length > target_size)
    edits.emplace_back(SimTree::SetSize{target.inode, to_offset + length});
  call.state.changed(target.inode, std::move(edits));
  for (std::size_t i = 0; i < pages.size(); ++i)
    if (pages[i]) tree.set_page(target.inode, to_offset / kPage + i, pages[i]);
  return {};
}

// ---- durability

Result<void> SimDisk::fsync(int fd) {
  Call call(*this);
  TRY(auto found, call.state.handle(fd));
  const auto& meta = call.state.meta(found.inode);
  if (!meta.is_file() && !meta.is_directory()) return Error(EINVAL);
  if (!call.allowed && !call.state.is_dead()) call.state.tree.fail_sync(found.inode);
  TRY(call.allowed);
  call.state.tree.sync(found.inode);
  return {};
}

Result<void> SimDisk::fdatasync(int fd) {
  return fsync(fd);
}

Result<void> SimDisk::syncfs(int fd) {
  Call call(*this);
  if (!call.allowed && !call.state.is_dead()) call.state.tree.fail_sync_all();
  TRY(call.allowed);
  if (call.state.on_syncfs) call.state.on_syncfs();
  TRY(call.state.handle(fd));
  call.state.tree.sync_all();
  return {};
}

// ---- attributes

struct stat SimDisk::State::stat_of(Inode inode) {
  const auto& node = tree.node(inode);
  struct stat out{};
  out.st_dev = 0x51d;
  out.st_ino = inode;
  out.st_mode = node.meta.mode;
  out.st_nlink = node.meta.links;
  out.st_uid = node.meta.uid;
  out.st_gid = node.meta.gid;
  out.st_rdev = node.meta.device;
  std::uint64_t size = node.meta.target.size() + node.data.size();
  if (node.meta.is_directory()) size = (1 + node.entries.size() * kEntry_bytes / kPage) * kPage;
  out.st_size = static_cast<off_t>(size);
  out.st_blksize = kPage;
  out.st_blocks = static_cast<blkcnt_t>(node.data.pages().size() * kBlocksPerPage);
  out.st_atim = node.meta.atime;
  out.st_mtim = node.meta.mtime;
  out.st_ctim = node.meta.ctime;
  return out;
}

Result<struct stat> SimDisk::stat(int dir, const std::string& name) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto inode, call.state.object(dir, name));
  return call.state.stat_of(inode);
}

Result<struct stat> SimDisk::fstat(int fd) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto found, call.state.any_handle(fd));
  return call.state.stat_of(found.inode);
}

Result<struct statfs> SimDisk::statfs(int fd) {
  Call call(*this);
  TRY(call.allowed);
  TRY(call.state.any_handle(fd));
  constexpr std::uint64_t kUnlimitedPages = 1 << 28;  // 1 TiB
  struct statfs out{};
  out.f_type = 0x51d;
  out.f_bsize = out.f_frsize = kPage;
  out.f_namelen = NAME_MAX;
  out.f_blocks = call.state.capacity_pages != 0 ? call.state.capacity_pages : kUnlimitedPages;
  out.f_bfree = out.f_bavail =
      out.f_blocks - std::min<std::uint64_t>(out.f_blocks, call.state.tree.used_pages());
  out.f_files = 1 << 20;
  out.f_ffree = out.f_files - std::min<std::uint64_t>(out.f_files, call.state.tree.nodes().size());
  return out;
}

Result<void> SimDisk::State::set_mode(Inode inode, mode_t mode) {
  SimMeta after = meta(inode);
  if (after.is_symlink()) return Error(EOPNOTSUPP);
  after.mode = (after.mode & S_IFMT) | (mode & 07777);
  if (auto stored = after.xattrs.find(SimAcl::kAccess); stored != after.xattrs.end()) {
    auto acl = *SimAcl::parse(stored->second).value();
    acl.set_mode_bits(mode);
    stored->second = acl.serialize();
  }
  after.ctime = now();
  set_meta(inode, after);
  return {};
}

Result<void> SimDisk::chmod(int fd, mode_t mode) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto found, call.state.handle(fd));
  return call.state.set_mode(found.inode, mode);
}

Result<void> SimDisk::chmod_at(int dir, const std::string& name, mode_t mode) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto inode, call.state.object(dir, name));
  return call.state.set_mode(inode, mode);
}

Result<void> SimDisk::chown_at(int dir, const std::string& name, uid_t uid, gid_t gid) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto inode, call.state.object(dir, name));
  SimMeta after = call.state.meta(inode);
  if (uid != static_cast<uid_t>(-1)) after.uid = uid;
  if (gid != static_cast<gid_t>(-1)) after.gid = gid;
  // The kernel does so for everybody, and when nothing changes, too.
  if (!after.is_directory()) after.mode &= ~static_cast<mode_t>(S_ISUID);
  if (!after.is_directory() && (after.mode & S_IXGRP)) after.mode &= ~static_cast<mode_t>(S_ISGID);
  after.ctime = call.state.now();
  call.state.set_meta(inode, after);
  return {};
}

namespace {

bool changes_nothing(const timespec times[2]) {
  return times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT;
}

}  // namespace

Result<void> SimDisk::State::set_times(Inode inode, const timespec times[2]) {
  SimMeta after = meta(inode);
  after.ctime = now();
  timespec* fields[2] = {&after.atime, &after.mtime};
  for (int i = 0; i < 2; ++i) {
    if (times[i].tv_nsec == UTIME_OMIT) continue;
    if (times[i].tv_nsec == UTIME_NOW) {
      *fields[i] = after.ctime;
    } else if (times[i].tv_nsec < 0 || times[i].tv_nsec >= 1'000'000'000) {
      return Error(EINVAL);
    } else {
      *fields[i] = times[i];
    }
  }
  set_meta(inode, after);
  return {};
}

Result<void> SimDisk::set_times_at(int dir, const std::string& name, const timespec times[2]) {
  Change call(*this);
  TRY(call.allowed);
  if (changes_nothing(times)) return {};
  TRY(auto inode, call.state.object(dir, name));
  return call.state.set_times(inode, times);
}

Result<void> SimDisk::set_times(int fd, const timespec times[2]) {
  Change call(*this);
  TRY(call.allowed);
  if (changes_nothing(times)) return {};
  TRY(auto found, call.state.handle(fd));
  return call.state.set_times(found.inode, times);
}

}  // namespace polder
