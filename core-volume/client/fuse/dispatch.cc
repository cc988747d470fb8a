// SPDX-License-Identifier: GPL-3.0-or-later
// Each callback copies what libfuse lends it for the time of the call and starts one coroutine.
#include "core-volume/client/fuse/dispatch.h"

#include <linux/fuse.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "base/coro.h"

namespace polder {

namespace {

Dispatch& dispatch_of(fuse_req_t raw) {
  return *static_cast<Dispatch*>(fuse_req_userdata(raw));
}

void act_on_interrupt(Dispatch& dispatch, const std::shared_ptr<Pending>& pending) {
  dispatch.interrupts.interrupted(dispatch.executor, pending);
}

void on_interrupt(fuse_req_t raw, void* data) {
  auto& pending = *static_cast<Pending*>(data);
  pending.interrupted = true;
  if (!pending.task.expired()) act_on_interrupt(dispatch_of(raw), pending.shared_from_this());
}

template <typename Operation, typename... Args>
void start_interruptible(bool any_signal, fuse_req_t raw, Operation operation, Args... args) {
  Dispatch& dispatch = dispatch_of(raw);
  ++dispatch.requests;
  if (dispatch.refusing) {
    fuse_reply_err(raw, ENOTCONN);
    return;
  }
  auto pending = std::make_shared<Pending>();
  pending->any_signal = any_signal;
  pending->pid = static_cast<std::uint32_t>(fuse_req_ctx(raw)->pid);
  if (!any_signal)
    pending->asker.emplace(dispatch.askers, pending->pid);  // who waits for a lock needs no CPU
  fuse_req_interrupt_func(raw, on_interrupt, pending.get());
  Request request(raw, pending);
  pending->task = dispatch.tasks.spawn_now(
      dispatch.executor, (dispatch.bridge.*operation)(std::move(request), std::move(args)...));
  if (pending->interrupted) act_on_interrupt(dispatch, pending);
}

template <typename Operation, typename... Args>
void start(fuse_req_t raw, Operation operation, Args... args) {
  start_interruptible(false, raw, operation, std::move(args)...);
}

/// Whether the bridge knew the answer: then there is no task.
template <typename AtOnce, typename... Args>
bool answered(fuse_req_t raw, AtOnce at_once, Args... args) {
  Dispatch& dispatch = dispatch_of(raw);
  if (dispatch.refusing) return false;
  Request request(raw, nullptr);
  if (!(dispatch.bridge.*at_once)(request, args...)) {
    request.give_back();
    return false;
  }
  ++dispatch.requests;
  return true;
}

NewObject new_object(fuse_req_t raw, mode_t mode, dev_t device = 0) {
  return {.mode = mode,
          .umask = fuse_req_ctx(raw)->umask,
          .rdev_major = major(device),
          .rdev_minor = minor(device)};
}

/// What libfuse does not pass on: the body of the message that is being dispatched.
template <typename Body>
Body body_of(fuse_req_t raw) {
  Body body;
  std::memcpy(&body, dispatch_of(raw).received.data() + sizeof(fuse_in_header), sizeof body);
  return body;
}

void on_lookup(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  start(raw, &Bridge::lookup, parent, std::string(name));
}

void on_forget(fuse_req_t raw, fuse_ino_t node, std::uint64_t lookups) {
  dispatch_of(raw).bridge.forget(node, lookups);
  dispatch_of(raw).bridge.forgot();
  fuse_reply_none(raw);
}

void on_forget_multi(fuse_req_t raw, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) dispatch_of(raw).bridge.forget(forgets[i].ino, forgets[i].nlookup);
  dispatch_of(raw).bridge.forgot();
  fuse_reply_none(raw);
}

void on_getattr(fuse_req_t raw, fuse_ino_t node, fuse_file_info*) {
  if (!answered(raw, &Bridge::getattr_now, node)) start(raw, &Bridge::getattr, node);
}

void on_setattr(fuse_req_t raw, fuse_ino_t node, struct stat* st, int to_set, fuse_file_info*) {
  constexpr std::pair<int, SetAttr::Field> kFields[] = {
      {FUSE_SET_ATTR_MODE, SetAttr::kMode},
      {FUSE_SET_ATTR_UID, SetAttr::kUid},
      {FUSE_SET_ATTR_GID, SetAttr::kGid},
      {FUSE_SET_ATTR_SIZE, SetAttr::kSize},
      {FUSE_SET_ATTR_ATIME, SetAttr::kAtime},
      {FUSE_SET_ATTR_MTIME, SetAttr::kMtime},
      {FUSE_SET_ATTR_ATIME_NOW, SetAttr::kAtimeNow},
      {FUSE_SET_ATTR_MTIME_NOW, SetAttr::kMtimeNow},
      {FUSE_SET_ATTR_CTIME, SetAttr::kCtimeNow},
  };
  SetAttr change{.mode = st->st_mode & 07777U,
                 .uid = st->st_uid,
                 .gid = st->st_gid,
                 .size = static_cast<std::uint64_t>(st->st_size),
                 .atime = st->st_atim,
                 .mtime = st->st_mtim};
  for (auto [asked, field] : kFields)
    if ((to_set & asked) != 0) change.fields |= field;
  // "Now" comes with a time as well; the leader's clock is the one that counts.
  if ((change.fields & SetAttr::kAtimeNow) != 0) change.fields &= ~std::uint32_t{SetAttr::kAtime};
  if ((change.fields & SetAttr::kMtimeNow) != 0) change.fields &= ~std::uint32_t{SetAttr::kMtime};
  const bool set_ids = (body_of<fuse_setattr_in>(raw).valid & FATTR_KILL_SUIDGID) != 0;
  start(raw, &Bridge::setattr, node, change, set_ids);
}

void on_readlink(fuse_req_t raw, fuse_ino_t node) {
  start(raw, &Bridge::readlink, node);
}

void on_mknod(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  start(raw, &Bridge::mknod, parent, std::string(name), new_object(raw, mode, device));
}

void on_mkdir(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode) {
  start(raw, &Bridge::mkdir, parent, std::string(name), new_object(raw, S_IFDIR | (mode & 07777U)));
}

void on_unlink(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  start(raw, &Bridge::unlink, parent, std::string(name));
}

void on_rmdir(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  start(raw, &Bridge::rmdir, parent, std::string(name));
}

void on_symlink(fuse_req_t raw, const char* target, fuse_ino_t parent, const char* name) {
  start(raw, &Bridge::symlink, parent, std::string(name), std::string(target));
}

void on_rename(fuse_req_t raw, fuse_ino_t from, const char* from_name, fuse_ino_t to, const char* to_name,
               unsigned flags) {
  start(raw, &Bridge::rename, from, std::string(from_name), to, std::string(to_name), flags);
}

void on_link(fuse_req_t raw, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  start(raw, &Bridge::link, node, parent, std::string(name));
}

void on_create(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* file) {
  const bool set_ids = (body_of<fuse_create_in>(raw).open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
  start(raw, &Bridge::create, parent, std::string(name), new_object(raw, S_IFREG | (mode & 07777U)),
        file->flags, set_ids);
}

void on_open(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) {
  const bool set_ids = (body_of<fuse_open_in>(raw).open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
  start(raw, &Bridge::open, node, file->flags, set_ids);
}

void on_read(fuse_req_t raw, fuse_ino_t node, std::size_t size, off_t offset, fuse_file_info* file) {
  start(raw, &Bridge::read, node, file->fh, static_cast<std::uint64_t>(offset),
        static_cast<std::uint32_t>(size));
}

void on_write(fuse_req_t raw, fuse_ino_t node, const char* bytes, std::size_t size, off_t offset,
              fuse_file_info* file) {
  Dispatch& dispatch = dispatch_of(raw);
  const bool set_ids = (body_of<fuse_write_in>(raw).write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
  Buffer data;
  if (size < kCopyMax_bytes) {
    data = Buffer::copy_of(std::string_view(bytes, size));
  } else {
    const auto at = reinterpret_cast<const std::byte*>(bytes) - dispatch.received.data();
    data = dispatch.received.slice(static_cast<std::size_t>(at), size);
    dispatch.received_kept = true;
  }
  // Pages of a shared mapping, written back: they have their place, whatever the flags of some handle say.
  const bool append = (file->flags & O_APPEND) != 0 && !file->writepage;
  start(raw, &Bridge::write, node, file->fh, static_cast<std::uint64_t>(offset), std::move(data), append,
        set_ids);
}

void on_flush(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) {
  if (answered(raw, &Bridge::flush_now, node, file->lock_owner)) return;
  start(raw, &Bridge::flush, node, file->lock_owner);
}

void on_release(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) {
  start(raw, &Bridge::release, node, *file);
}

void on_fsync(fuse_req_t raw, fuse_ino_t node, int data_only, fuse_file_info*) {
  start(raw, &Bridge::fsync, node, data_only != 0);
}

void on_opendir(fuse_req_t raw, fuse_ino_t, fuse_file_info* file) {
  // Listings are resumed by cookies: an open directory has no state here, nor on the brick.
  fuse_reply_open(raw, file);
}

void on_releasedir(fuse_req_t raw, fuse_ino_t, fuse_file_info*) {
  fuse_reply_err(raw, 0);
}

void on_readdir(fuse_req_t raw, fuse_ino_t node, std::size_t size, off_t offset, fuse_file_info*) {
  start(raw, &Bridge::readdir, node, size, static_cast<std::uint64_t>(offset), false);
}

void on_readdirplus(fuse_req_t raw, fuse_ino_t node, std::size_t size, off_t offset, fuse_file_info*) {
  start(raw, &Bridge::readdir, node, size, static_cast<std::uint64_t>(offset), true);
}

void on_statfs(fuse_req_t raw, fuse_ino_t) {
  start(raw, &Bridge::statfs);
}

void on_setxattr(fuse_req_t raw, fuse_ino_t node, const char* key, const char* value, std::size_t size,
                 int flags) {
  start(raw, &Bridge::setxattr, node, std::string(key), std::string(value, size), flags);
}

void on_getxattr(fuse_req_t raw, fuse_ino_t node, const char* key, std::size_t size) {
  if (answered(raw, &Bridge::getxattr_now, node, std::string_view(key))) return;
  start(raw, &Bridge::getxattr, node, std::string(key), size);
}

void on_listxattr(fuse_req_t raw, fuse_ino_t node, std::size_t size) {
  if (!answered(raw, &Bridge::listxattr_now, node, size)) start(raw, &Bridge::listxattr, node, size);
}

void on_removexattr(fuse_req_t raw, fuse_ino_t node, const char* key) {
  start(raw, &Bridge::removexattr, node, std::string(key));
}

FileLock to_lock(const struct flock& lock, std::uint64_t owner) {
  FileLock out{.kind = FileLock::Kind::kPosix, .owner = owner, .pid = static_cast<std::uint32_t>(lock.l_pid)};
  out.type = lock.l_type == F_RDLCK   ? FileLock::Type::kRead
             : lock.l_type == F_WRLCK ? FileLock::Type::kWrite
                                      : FileLock::Type::kUnlock;
  out.start = static_cast<std::uint64_t>(lock.l_start);
  if (lock.l_len > 0) out.end = out.start + static_cast<std::uint64_t>(lock.l_len) - 1;
  return out;
}

void on_getlk(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file, struct flock* lock) {
  start(raw, &Bridge::test_lock, node, to_lock(*lock, file->lock_owner));
}

void on_setlk(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file, struct flock* lock, int wait) {
  start_interruptible(true, raw, &Bridge::set_lock, node, file->fh, to_lock(*lock, file->lock_owner),
                      wait != 0);
}

void on_flock(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file, int operation) {
  FileLock lock{.kind = FileLock::Kind::kFlock,
                .owner = file->lock_owner,
                .pid = static_cast<std::uint32_t>(fuse_req_ctx(raw)->pid)};
  if ((operation & LOCK_SH) != 0) lock.type = FileLock::Type::kRead;
  if ((operation & LOCK_EX) != 0) lock.type = FileLock::Type::kWrite;
  start_interruptible(true, raw, &Bridge::set_lock, node, file->fh, lock, (operation & LOCK_NB) == 0);
}

void on_fallocate(fuse_req_t raw, fuse_ino_t node, int mode, off_t offset, off_t length, fuse_file_info*) {
  start(raw, &Bridge::fallocate, node, mode, static_cast<std::uint64_t>(offset),
        static_cast<std::uint64_t>(length));
}

void on_copy_file_range(fuse_req_t raw, fuse_ino_t from, off_t from_offset, fuse_file_info*, fuse_ino_t to,
                        off_t to_offset, fuse_file_info*, std::size_t length, int flags) {
  if (flags != 0) {
    fuse_reply_err(raw, EINVAL);
    return;
  }
  start(raw, &Bridge::copy_range, from, static_cast<std::uint64_t>(from_offset), to,
        static_cast<std::uint64_t>(to_offset), static_cast<std::uint64_t>(length));
}

void on_lseek(fuse_req_t raw, fuse_ino_t node, off_t offset, int whence, fuse_file_info*) {
  start(raw, &Bridge::seek, node, static_cast<std::uint64_t>(offset), whence);
}

void on_init(void*, fuse_conn_info* kernel) {
  // default_permissions and what goes with it are mount options (fuse_server.cc).
  constexpr unsigned kWanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS |
                               FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_ACL |
                               FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                               FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS;
  // Not wanted, among libfuse's defaults: HANDLE_KILLPRIV (its second version is, which libfuse 3.14 does not
  // know: fuse_server.cc) and splicing (pages of a pipe could change after they were acknowledged).
  kernel->want = kernel->capable & kWanted;
  kernel->max_write = kTransferMax_bytes;
  kernel->max_background = 64;
  kernel->congestion_threshold = 48;
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops ops{};
  ops.init = on_init;
  ops.lookup = on_lookup;
  ops.forget = on_forget;
  ops.forget_multi = on_forget_multi;
  ops.getattr = on_getattr;
  ops.setattr = on_setattr;
  ops.readlink = on_readlink;
  ops.mknod = on_mknod;
  ops.mkdir = on_mkdir;
  ops.unlink = on_unlink;
  ops.rmdir = on_rmdir;
  ops.symlink = on_symlink;
  ops.rename = on_rename;
  ops.link = on_link;
  ops.create = on_create;
  ops.open = on_open;
  ops.read = on_read;
  ops.write = on_write;
  ops.flush = on_flush;
  ops.release = on_release;
  ops.fsync = on_fsync;
  ops.opendir = on_opendir;
  ops.releasedir = on_releasedir;
  ops.fsyncdir = on_fsync;
  ops.readdir = on_readdir;
  ops.readdirplus = on_readdirplus;
  ops.statfs = on_statfs;
  ops.setxattr = on_setxattr;
  ops.getxattr = on_getxattr;
  ops.listxattr = on_listxattr;
  ops.removexattr = on_removexattr;
  ops.getlk = on_getlk;
  ops.setlk = on_setlk;
  ops.flock = on_flock;
  ops.fallocate = on_fallocate;
  ops.copy_file_range = on_copy_file_range;
  ops.lseek = on_lseek;
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& fuse_operations() {
  static const fuse_lowlevel_ops operations = make_operations();
  return operations;
}

}  // namespace polder
