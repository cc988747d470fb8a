// SPDX-License-Identifier: GPL-3.0-or-later
// Opening, reading and writing files. What the kernel caches, and when it must not, is decided here.
#include <fcntl.h>

#include <algorithm>

#include "base/coro.h"
#include "base/log.h"
#include "core-volume/client/fuse/bridge.h"
#include "core-volume/client/fuse/fuse_server.h"

namespace polder {

namespace {

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/// Handles whose data must not pass the page cache. O_DIRECT: asked for. O_APPEND: only the brick knows where
/// the bytes go; the kernel would put them at its own idea of the end, over those of another mount.
bool wants_direct(int flags) {
  if ((flags & O_DIRECT) != 0) return true;
  return (flags & O_APPEND) != 0 && (flags & O_ACCMODE) != O_RDONLY;
}

}  // namespace

fuse_file_info Bridge::remember_file(Inode& inode, const Opened& opened, int flags) {
  const std::uint64_t file = next_file_++;
  fuse_file_info info{};
  info.fh = file;
  info.direct_io = wants_direct(flags);
  // The pages are those of the last open's change index, or newer. If that is still the object's, nothing has
  // changed since, so they are what the brick has. Changes of this mount move the index too and so cost one
  // re-read: nothing in a write's reply says that no other change came before it.
  info.keep_cache = same_time(inode.pages_ctime, opened.attr.ctime);
  inode.pages_ctime = opened.attr.ctime;
  inode.mode = opened.attr.mode;
  ++inode.open_files;
  files_[file] = {opened.attr.gfid, opened.handle, info.direct_io != 0, {}};
  return info;
}

Task<void> Bridge::forget_file(const OpContext& context, NodeId node, std::uint64_t file) {
  const auto found = files_.find(file);
  if (found == files_.end()) co_return;
  const OpenFile open = std::move(found->second);
  files_.erase(found);
  if (Inode* inode = inodes_.find(node); inode != nullptr && inode->open_files > 0) --inode->open_files;
  // Open-file-description locks, which no FLUSH names: their owner is the description that ends now.
  for (std::uint64_t owner : open.lock_owners)
    if (take_lock_owner(node, owner))
      co_await unlock(context, node, open.gfid, FileLock::Kind::kPosix, owner);
  auto done = co_await volume_.release(context, open.gfid, open.handle);
  if (!done) log::debug("release {}: {}", open.gfid.hex(), done.error().message());
}

Task<void> Bridge::create(Request request, NodeId parent, std::string name, NewObject object, int flags,
                          bool set_ids) {
  const Gfid directory = gfid_or_stale(request, parent);
  if (directory.is_nil()) co_return;
  const OpContext context = request.context();
  const auto asked_at = clock_.boot_time();
  names_change(parent);
  auto opened = co_await volume_.create(context, directory, name, object, flags);
  changed_here(parent);
  if (!opened) {
    request.fail(opened.error());
    co_return;
  }
  const fuse_entry_param entry = remember(parent, name, opened->attr);
  if (opened->created)
    no_capability(entry.ino, asked_at);
  else if ((flags & O_TRUNC) != 0 && takes_privileges)
    co_await drop_privileges_of_opened(context, entry.ino, *opened, set_ids);
  Inode& inode = *inodes_.find(entry.ino);
  const fuse_file_info info = remember_file(inode, *opened, flags);
  if (request.created(entry, info)) co_return;
  co_await forget_file(context, entry.ino, info.fh);
  inodes_.forget(entry.ino, 1);
}

// Close-to-open: the volume's answer is the truth of this moment. Pages of another change index are dropped
// by the kernel (no keep_cache), but it would go on believing a size that it heard less than a second ago.
Task<bool> Bridge::opened_usable(const OpContext& context, NodeId node, const Opened& opened, int flags) {
  Inode* inode = inodes_.find(node);
  const bool removed = opened.attr.nlink == 0;
  if (inode == nullptr || (removed && inode->open_files == 0)) {
    // A name that the kernel still caches led to an object that has none: ESTALE makes it look again. When
    // this mount holds it open it may be meant (/proc/self/fd/N).
    auto done = co_await volume_.release(context, opened.attr.gfid, opened.handle);
    if (!done) log::debug("release {}: {}", opened.attr.gfid.hex(), done.error().message());
    co_return false;
  }
  const bool truncated = (flags & O_TRUNC) != 0;  // then the kernel knows the size, and asks for the rest
  const bool stale =
      inode->attr_until > clock_.boot_time() && !same_time(inode->attr_ctime, opened.attr.ctime);
  if (stale && !truncated && options_.invalidate_attributes_at_open) {
    inode->attr_until = std::chrono::nanoseconds(0);
    co_await invalidator->attributes_now(node);
  }
  co_return true;
}

Task<void> Bridge::open(Request request, NodeId node, int flags, bool set_ids) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  const OpContext context = request.context();
  auto opened = co_await volume_.open(context, gfid, flags);
  if (!opened) {
    request.fail(opened.error());
    co_return;
  }
  if ((flags & O_TRUNC) != 0 && takes_privileges)
    co_await drop_privileges_of_opened(context, node, *opened, set_ids);
  const bool usable = co_await opened_usable(context, node, *opened, flags);
  Inode* inode = inodes_.find(node);
  if (!usable || inode == nullptr) {
    request.fail(ESTALE);
    co_return;
  }
  const fuse_file_info info = remember_file(*inode, *opened, flags);
  if (request.opened(info)) co_return;
  co_await forget_file(context, node, info.fh);
}

Task<void> Bridge::release(Request request, NodeId node, fuse_file_info file) {
  const OpContext context = request.context();
  request.ok();  // nobody waits for it
  if (file.flock_release) {
    const auto found = files_.find(file.fh);
    if (found != files_.end()) {
      const Gfid gfid = found->second.gfid;
      co_await unlock(context, node, gfid, FileLock::Kind::kFlock, file.lock_owner);
    }
  }
  co_await forget_file(context, node, file.fh);
}

Task<void> Bridge::release_all() {
  const OpContext context;
  while (!files_.empty()) {
    const auto& [file, open] = *files_.begin();
    const std::uint64_t ending = file;
    const NodeId node = inodes_.node_of(open.gfid);
    co_await forget_file(context, node, ending);
  }
}

Task<void> Bridge::read(Request request, NodeId node, std::uint64_t file, std::uint64_t offset,
                        std::uint32_t length) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  const auto open = files_.find(file);
  if (open == files_.end()) {
    request.fail(EBADF);
    co_return;
  }
  const HandleId handle = open->second.handle;
  auto data = co_await volume_.read(request.context(), gfid, handle, offset, length);
  if (data)
    request.data(data->text().substr(0, length));
  else
    request.fail(data.error());
}

Task<void> Bridge::write(Request request, NodeId node, std::uint64_t file, std::uint64_t offset, Buffer data,
                         bool append, bool set_ids) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  const auto found = files_.find(file);
  if (found == files_.end()) {
    request.fail(EBADF);
    co_return;
  }
  const OpenFile open = found->second;
  // Without that the kernel has asked already, unless the bytes do not pass its cache.
  if (!takes_privileges) set_ids = open.direct && request.context().uid != 0;
  if ((takes_privileges || open.direct) && may_have_privileges(node, set_ids)) {
    if (request.failed(co_await drop_privileges(request.context(), node, gfid, set_ids))) co_return;
  }
  const std::size_t size = data.size();
  auto written =
      co_await volume_.write(request.context(), gfid, open.handle, offset, std::move(data), append);
  changed_here(node);
  if (!written) {
    request.fail(written.error());
    co_return;
  }
  request.written(size);
  // O_APPEND set by fcntl() on a handle that the kernel caches: it has the bytes on the wrong page.
  if (written->offset != offset && !open.direct) invalidator->object(node);
}

Task<void> Bridge::fsync(Request request, NodeId node, bool data_only) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  auto done = co_await volume_.fsync(request.context(), gfid, data_only);
  done ? request.ok() : request.fail(done.error());
}

Task<void> Bridge::fallocate(Request request, NodeId node, int mode, std::uint64_t offset,
                             std::uint64_t length) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  // Of these the kernel does not say who must take what.
  const bool by_user = request.context().uid != 0;
  if (request.failed(co_await drop_privileges(request.context(), node, gfid, by_user))) co_return;
  auto done = co_await volume_.fallocate(request.context(), gfid, mode, offset, length);
  changed_here(node);
  done ? request.ok() : request.fail(done.error());
}

Task<void> Bridge::seek(Request request, NodeId node, std::uint64_t offset, int whence) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  auto at = co_await volume_.seek(request.context(), gfid, offset, whence);
  if (at)
    request.offset(*at);
  else
    request.fail(at.error());
}

Task<void> Bridge::copy_range(Request request, NodeId from, std::uint64_t from_offset, NodeId to,
                              std::uint64_t to_offset, std::uint64_t length) {
  const Gfid source = gfid_or_stale(request, from);
  if (source.is_nil()) co_return;
  const Gfid target = gfid_or_stale(request, to);
  if (target.is_nil()) co_return;
  const bool by_user = request.context().uid != 0;
  if (request.failed(co_await drop_privileges(request.context(), to, target, by_user))) co_return;
  // A caller loops over short copies; in between it can be interrupted. (The reply has 32 bits.)
  constexpr std::uint64_t kPieceMax_bytes = 256 << 20;
  auto copied = co_await volume_.copy_range(request.context(), source, from_offset, target, to_offset,
                                            std::min(length, kPieceMax_bytes));
  changed_here(to);
  if (copied)
    request.written(*copied);
  else
    request.fail(copied.error());
}

}  // namespace polder
