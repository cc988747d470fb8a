// SPDX-License-Identifier: GPL-3.0-or-later
// SimDisk: faults and crashes, open files, and the calls about names.
#include "tests/support/sim_disk.h"

#include <dirent.h>
#include <linux/limits.h>

#include "base/clock.h"
#include "tests/support/sim_disk_state.h"
#include "tests/support/trace.h"

namespace polder {

SimDisk::SimDisk(const Clock* clock) : state_(std::make_unique<State>(fault_, clock)) {}
SimDisk::~SimDisk() = default;

timespec SimDisk::State::now() {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t time = clock ? clock->wall_time().count() : own_time_ns += 1000;
  return {time / kSecond, time % kSecond};
}

void SimDisk::kill() {
  std::lock_guard lock(mutex_);
  state_->close_all();
  fault_.heal();
}

void SimDisk::crash(std::uint64_t seed) {
  std::lock_guard lock(mutex_);
  state_->close_all();
  fault_.heal();
  state_->tree.crash(seed);
  ++state_->boots;
}

std::uint64_t SimDisk::boots() const {
  std::lock_guard lock(mutex_);
  return state_->boots;
}

void SimDisk::share_fault(SimFault& fault) {
  std::lock_guard lock(mutex_);
  state_->shared_fault = &fault;
}

void SimDisk::set_capacity(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  state_->capacity_pages = (bytes + SparseData::kPageBytes - 1) / SparseData::kPageBytes;
}

std::uint64_t SimDisk::used_bytes() const {
  std::lock_guard lock(mutex_);
  return state_->tree.used_pages() * SparseData::kPageBytes;
}

void SimDisk::trace(Trace& trace, std::size_t actor) {
  std::lock_guard lock(mutex_);
  state_->trace = &trace;
  state_->actor = actor;
}

namespace {

/// The files below a directory whose paths begin with `prefix`, if there is anything in them.
void collect_files(SimTree& tree, Inode directory, const std::string& path, const std::string& prefix,
                   std::vector<std::pair<std::string, Inode>>& files) {
  for (const auto& [name, inode] : tree.node(directory).entries) {
    const auto below = path + "/" + name;
    const auto& node = tree.node(inode);
    if (node.meta.is_directory()) collect_files(tree, inode, below, prefix, files);
    if (node.meta.is_file() && node.data.size() > 0 && below.starts_with(prefix))
      files.emplace_back(below, inode);
  }
}

}  // namespace

std::string SimDisk::flip_bit(std::uint64_t seed, const std::string& prefix) {
  std::lock_guard lock(mutex_);
  auto& tree = state_->tree;
  std::vector<std::pair<std::string, Inode>> files;
  collect_files(tree, SimTree::kRoot, "", prefix, files);
  SimChoice choice(seed);
  constexpr int kTries = 1000;  // there may be holes
  for (int i = 0; i < kTries && !files.empty(); ++i) {
    const auto& [path, inode] = files[choice.below(files.size())];
    const auto byte = choice.below(tree.node(inode).data.size());
    const auto bit = static_cast<unsigned>(choice.below(8));
    if (tree.flip_bit(inode, byte, bit)) return fmt::format("{} byte {} bit {}", path, byte, bit);
  }
  return {};
}

void SimDisk::on_syncfs(std::function<void()> listener) {
  std::lock_guard lock(mutex_);
  state_->on_syncfs = std::move(listener);
}

bool SimDisk::is_own(int fd) const {
  std::lock_guard lock(mutex_);
  return state_->handles.contains(fd);
}

void SimDisk::set_reflink(bool supported) {
  std::lock_guard lock(mutex_);
  state_->reflink = supported;
}

Result<void> SimDisk::step(std::string_view what) {
  if (on_call_) on_call_(what);
  std::lock_guard lock(mutex_);
  return state_->count_call(what);
}

std::unique_ptr<SimDisk> SimDisk::copy() {
  std::lock_guard lock(mutex_);
  state_->tree.sync_all();
  auto made = std::make_unique<SimDisk>(state_->clock);
  auto& state = *made->state_;
  state.tree = state_->tree;
  state.tree.forget_handles();
  state.tree.sync_all();
  state.shared_fault = state_->shared_fault;
  state.trace = state_->trace;
  state.actor = state_->actor;
  state.reflink = state_->reflink;
  return made;
}

Result<void> SimDisk::unmount() {
  std::lock_guard lock(mutex_);
  if (!state_->handles.empty()) return Error(EBUSY);
  state_->tree.sync_all();
  return {};
}

void SimDisk::exchange(SimDisk& other) {
  std::scoped_lock lock(mutex_, other.mutex_);
  std::swap(state_->tree, other.state_->tree);
}

void SimDisk::set_read_only(bool read_only) {
  std::lock_guard lock(mutex_);
  state_->read_only = read_only;
}

void SimDisk::set_mount_point(std::string directory) {
  std::lock_guard lock(mutex_);
  state_->mount_point = std::move(directory);
}

double SimDisk::used_percent() const {
  std::lock_guard lock(mutex_);
  if (state_->capacity_pages == 0) return 0;
  return 100.0 * static_cast<double>(state_->tree.used_pages()) / static_cast<double>(state_->capacity_pages);
}

Result<void> SimDisk::State::count_call(std::string_view name) {
  auto own = fault.count(name);
  auto shared = shared_fault ? shared_fault->count(name) : Result<void>();
  if (trace) trace->add(actor, name, fault.calls());
  return own ? shared : own;
}

bool SimDisk::State::has_room() const {
  return capacity_pages == 0 || tree.used_pages() < capacity_pages;
}

Result<SimHandle> SimDisk::State::any_handle(int fd) const {
  auto found = handles.find(fd);
  if (found == handles.end()) return Error(EBADF);
  return found->second;
}

Result<SimHandle> SimDisk::State::handle(int fd) const {
  TRY(auto found, any_handle(fd));
  if (found.is_path()) return Error(EBADF);
  return found;
}

int SimDisk::State::add_handle(Inode inode, int flags) {
  const int fd = next_fd++;
  handles[fd] = {inode, flags};
  ++tree.node(inode).handles;
  return fd;
}

bool SimDisk::State::is_unread_fifo(Inode inode) {
  if (!S_ISFIFO(meta(inode).mode)) return false;
  for (const auto& [fd, handle] : handles)
    if (handle.inode == inode && !handle.is_path() && handle.readable()) return false;
  return true;
}

void SimDisk::State::close(int fd) {
  auto found = handles.find(fd);
  if (found == handles.end()) return;  // a handle of a process that is dead
  Inode inode = found->second.inode;
  handles.erase(found);
  if (auto lock = locks.find(inode); lock != locks.end() && lock->second == fd) locks.erase(lock);
  --tree.node(inode).handles;
  tree.release(inode);
}

void SimDisk::State::close_all() {
  handles.clear();
  locks.clear();
  tree.forget_handles();
}

void SimDisk::close(int fd) {
  std::lock_guard lock(mutex_);
  state_->close(fd);
}

namespace {

/// What open says about an object that exists.
Result<void> check_type(const SimMeta& meta, int flags) {
  if ((flags & O_CREAT) && meta.is_directory()) return Error(EISDIR);
  if ((flags & O_DIRECTORY) && !meta.is_directory()) return Error(ENOTDIR);
  if (flags & O_PATH) return {};
  if (meta.is_symlink()) return Error(ELOOP);
  bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
  if (meta.is_directory() && writes) return Error(EISDIR);
  if (S_ISSOCK(meta.mode) || S_ISCHR(meta.mode) || S_ISBLK(meta.mode)) return Error(ENXIO);
  return {};
}

/// As KernelDisk: before anything is looked at.
Result<void> check_names(std::initializer_list<std::string_view> names) {
  for (auto name : names)
    if (name.find('\0') != name.npos) return Error(EINVAL);
  return {};
}

constexpr bool has_all(int flags, int wanted) {
  return (flags & wanted) == wanted;
}

}  // namespace

Result<DiskFile> SimDisk::open(int dir, const std::string& path, int flags, mode_t mode) {
  Call call(*this);
  TRY(call.allowed);
  auto& state = call.state;
  if (flags & O_PATH) flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW;
  if (state.read_only && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))) return Error(EROFS);
  if (has_all(flags, O_TMPFILE)) {
    if ((flags & O_CREAT) || (flags & O_ACCMODE) == O_RDONLY) return Error(EINVAL);
    TRY(auto place, state.resolve(dir, path, !(flags & O_NOFOLLOW)));
    if (place.target == 0) return Error(ENOENT);
    if (!state.meta(place.target).is_directory()) return Error(ENOTDIR);
    if (state.meta(place.target).links == 0) return Error(EPERM);  // a removed directory; ext4's word for it
    TRY(auto inode, state.create_unnamed(place.target, S_IFREG | (mode & 07777)));
    state.tree.node(inode).linkable = !(flags & O_EXCL);
    return DiskFile(*this, state.add_handle(inode, flags));
  }
  if (has_all(flags, O_CREAT | O_DIRECTORY)) return Error(EINVAL);
  bool exclusive = has_all(flags, O_CREAT | O_EXCL);
  if ((flags & O_CREAT) && path.ends_with('/')) {
    TRY(state.resolve(dir, path.substr(0, path.find_last_not_of('/') + 1), false));
    return Error(EISDIR);
  }
  TRY(auto place, state.resolve(dir, path, !(flags & O_NOFOLLOW) && !exclusive));
  if (place.target == 0) {
    if (!(flags & O_CREAT)) return Error(ENOENT);
    if (state.read_only) return Error(EROFS);
    if (state.meta(place.parent).links == 0) return Error(ENOENT);
    TRY(auto inode, state.create(place, S_IFREG | (mode & 07777), 0, ""));
    return DiskFile(*this, state.add_handle(inode, flags));
  }
  if (exclusive) return Error(EEXIST);
  TRY(check_type(state.meta(place.target), flags));
  if (!(flags & O_PATH) && (flags & O_ACCMODE) == O_WRONLY && state.is_unread_fifo(place.target))
    return Error(ENXIO);
  if ((flags & O_TRUNC) && state.meta(place.target).is_file())
    state.changed(place.target, {SimTree::SetSize{place.target, 0}});
  return DiskFile(*this, state.add_handle(place.target, flags));
}

Result<void> SimDisk::mkdir(int dir, const std::string& name, mode_t mode) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto place, call.state.new_name(dir, name, true));
  TRY(call.state.create(place, S_IFDIR | (mode & 01777), 0, ""));
  return {};
}

Result<void> SimDisk::mknod(int dir, const std::string& name, mode_t mode, dev_t device) {
  Change call(*this);
  TRY(call.allowed);
  TRY(check_names({name}));
  mode_t type = mode & S_IFMT;
  if (type == S_IFDIR) return Error(EPERM);
  if (type == 0) type = S_IFREG;
  bool is_device = type == S_IFCHR || type == S_IFBLK;
  if (!is_device && type != S_IFREG && type != S_IFIFO && type != S_IFSOCK) return Error(EINVAL);
  TRY(auto place, call.state.new_name(dir, name));
  TRY(call.state.create(place, type | (mode & 07777), is_device ? device : 0, ""));
  return {};
}

Result<void> SimDisk::symlink(const std::string& target, int dir, const std::string& name) {
  Change call(*this);
  TRY(call.allowed);
  TRY(check_names({target, name}));
  if (target.empty()) return Error(ENOENT);
  if (target.size() >= PATH_MAX) return Error(ENAMETOOLONG);
  TRY(auto place, call.state.new_name(dir, name));
  TRY(call.state.create(place, S_IFLNK | 0777, 0, target));
  return {};
}

Result<std::string> SimDisk::readlink(int dir, const std::string& name) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto inode, call.state.object(dir, name));
  const auto& meta = call.state.meta(inode);
  if (!meta.is_symlink()) return Error(name.empty() ? ENOENT : EINVAL);
  return meta.target;
}

Result<void> SimDisk::link(int from_dir, const std::string& from, int to_dir, const std::string& to) {
  Change call(*this);
  TRY(call.allowed);
  TRY(check_names({from, to}));
  TRY(auto source, call.state.resolve(from_dir, from, false));
  if (source.target == 0) return Error(ENOENT);
  TRY(auto place, call.state.new_name(to_dir, to));
  return call.state.add_name(place, source.target);
}

Result<void> SimDisk::link_file(int fd, int to_dir, const std::string& to) {
  Change call(*this);
  TRY(call.allowed);
  TRY(check_names({to}));
  TRY(auto source, call.state.any_handle(fd));
  TRY(auto place, call.state.new_name(to_dir, to));
  return call.state.add_name(place, source.inode);
}

Result<void> SimDisk::unlink(int dir, const std::string& name, int flags) {
  Change call(*this);
  TRY(call.allowed);
  if (flags & ~AT_REMOVEDIR) return Error(EINVAL);
  bool directory = flags & AT_REMOVEDIR;
  TRY(auto place, call.state.resolve(dir, name, false));
  if (directory && place.kind == SimPlace::Kind::dot) return Error(EINVAL);
  if (directory && place.kind == SimPlace::Kind::dotdot) return Error(ENOTEMPTY);
  if (directory && place.kind == SimPlace::Kind::root) return Error(EBUSY);
  if (place.kind != SimPlace::Kind::normal) return Error(EISDIR);
  if (place.target == 0) return Error(ENOENT);
  const auto& node = call.state.tree.node(place.target);
  if (directory && !node.meta.is_directory()) return Error(ENOTDIR);
  if (directory && !node.entries.empty()) return Error(ENOTEMPTY);
  if (!directory && node.meta.is_directory()) return Error(EISDIR);
  call.state.remove_name(place);
  return {};
}

namespace {

/// True when `inode` is `ancestor` or lies below it.
bool is_within(SimTree& tree, Inode inode, Inode ancestor) {
  while (inode != ancestor && inode != SimTree::kRoot) inode = tree.node(inode).meta.parent;
  return inode == ancestor;
}

/// The rules of rename(2), in the kernel's order. False when there is nothing to do.
Result<bool> check_rename(SimTree& tree, const SimPlace& from, const SimPlace& to, unsigned flags) {
  bool exchange = flags & RENAME_EXCHANGE;
  TRY(from.check_length());
  if (from.target == 0) return Error(ENOENT);
  TRY(to.check_length());
  if ((flags & RENAME_NOREPLACE) && to.target != 0) return Error(EEXIST);
  if (exchange && to.target == 0) return Error(ENOENT);
  const auto& source = tree.node(from.target);
  if (!source.meta.is_directory() && to.slash && !exchange) return Error(ENOTDIR);
  // In a removed directory that is still open: no ancestors to follow, and nothing can be made there.
  if (tree.node(to.parent).meta.links == 0) return Error(ENOENT);
  if (source.meta.is_directory() && is_within(tree, to.parent, from.target)) return Error(EINVAL);
  bool target_is_above =
      to.target != 0 && tree.node(to.target).meta.is_directory() && is_within(tree, from.parent, to.target);
  if (target_is_above) return Error(exchange ? EINVAL : ENOTEMPTY);
  if (from.target == to.target) return false;
  if (to.target == 0 || exchange) return true;
  const auto& target = tree.node(to.target);
  if (source.meta.is_directory() && !target.meta.is_directory()) return Error(ENOTDIR);
  if (!source.meta.is_directory() && target.meta.is_directory()) return Error(EISDIR);
  if (!target.entries.empty()) return Error(ENOTEMPTY);
  return true;
}

}  // namespace

Result<void> SimDisk::rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
                             unsigned flags) {
  Change call(*this);
  TRY(call.allowed);
  if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE) return Error(EINVAL);
  TRY(check_names({from, to}));
  TRY(auto source, call.state.find(from_dir, from, false));
  TRY(auto target, call.state.find(to_dir, to, false));
  if (source.kind != SimPlace::Kind::normal) return Error(EBUSY);
  if (target.kind != SimPlace::Kind::normal) return Error(flags & RENAME_NOREPLACE ? EEXIST : EBUSY);
  TRY(bool needed, check_rename(call.state.tree, source, target, flags));
  if (!needed) return {};
  if (flags & RENAME_EXCHANGE) {
    call.state.exchange_names(source, target);
  } else {
    call.state.move_name(source, target);
  }
  return {};
}

Result<std::vector<DirEntry>> SimDisk::list(int fd) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto handle, call.state.any_handle(fd));
  const auto& node = call.state.tree.node(handle.inode);
  if (!node.meta.is_directory()) return Error(ENOTDIR);
  if (node.meta.links == 0) return Error(ENOENT);
  std::vector<DirEntry> entries;
  for (const auto& [name, inode] : node.entries)
    entries.push_back({name, inode, static_cast<unsigned char>(IFTODT(call.state.meta(inode).mode))});
  return entries;
}

Result<void> SimDisk::lock_exclusive(int fd) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto handle, call.state.handle(fd));
  auto [lock, taken] = call.state.locks.try_emplace(handle.inode, fd);
  if (!taken && lock->second != fd) return Error(EWOULDBLOCK);
  return {};
}

Result<std::string> SimDisk::boot_id() {
  Call call(*this);
  TRY(call.allowed);
  return fmt::format("00000000-0000-4000-8000-{:012x}", call.state.boots);
}

}  // namespace polder
