// SPDX-License-Identifier: GPL-3.0-or-later
// Looking names up, making and removing them. The kernel holds the directories' locks meanwhile: nothing here
// may wait for the invalidator.
#include "base/coro.h"
#include "core-volume/client/fuse/bridge.h"
#include "core-volume/client/fuse/fuse_server.h"

namespace polder {

namespace {

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

Bridge::Bridge(FileOps& volume, Clock& clock, const FuseOptions& options)
    : volume_(volume), clock_(clock), options_(options), inodes_(options.root) {}

Gfid Bridge::gfid_or_stale(Request& request, NodeId node) {
  if (const Inode* inode = inodes_.find(node)) return inode->gfid;
  request.fail(ESTALE);
  return Gfid{};
}

void Bridge::told_attributes(Inode& inode, const FileAttr& attr) {
  inode.mode = attr.mode;
  inode.attr_ctime = attr.ctime;
  // The kernel counts from when it has read the answer, which may be a while after it was sent: twice the
  // time.
  const auto now = clock_.boot_time();
  inode.attr_until = now + 2 * options_.attribute_timeout;
  inode.plain_until =
      attr.plain && now >= inode.plain_after ? now + options_.attribute_timeout : std::chrono::nanoseconds(0);
}

fuse_entry_param Bridge::remember(NodeId parent, std::string_view name, const FileAttr& attr) {
  fuse_entry_param entry{};
  entry.ino = inodes_.remember(attr.gfid);
  entry.attr = to_stat(attr);
  entry.attr_timeout = seconds(options_.attribute_timeout);
  entry.entry_timeout = seconds(options_.entry_timeout);
  Inode& inode = *inodes_.find(entry.ino);
  told_attributes(inode, attr);
  if (const Inode* directory = inodes_.find(parent); directory != nullptr && attr.is_directory()) {
    inode.parent = directory->gfid;
    inodes_.place(entry.ino, parent, name);
  }
  return entry;
}

Task<void> Bridge::answer_entry(Request request, NodeId parent, std::string_view name, Lookup looking) {
  auto attr = co_await std::move(looking);
  if (!attr) {
    request.fail(attr.error());
    co_return;
  }
  const fuse_entry_param entry = remember(parent, name, *attr);
  if (!request.entry(entry)) inodes_.forget(entry.ino, 1);
}

Task<void> Bridge::lookup(Request request, NodeId parent, std::string name) {
  const Gfid directory = gfid_or_stale(request, parent);
  if (directory.is_nil()) co_return;
  const OpContext context = request.context();
  co_await answer_entry(std::move(request), parent, name, volume_.lookup(context, directory, name));
}

Task<void> Bridge::mknod(Request request, NodeId parent, std::string name, NewObject object) {
  const Gfid directory = gfid_or_stale(request, parent);
  if (directory.is_nil()) co_return;
  const OpContext context = request.context();
  names_change(parent);
  co_await answer_entry(std::move(request), parent, name, volume_.mknod(context, directory, name, object));
  changed_here(parent);
}

Task<void> Bridge::mkdir(Request request, NodeId parent, std::string name, NewObject object) {
  const Gfid directory = gfid_or_stale(request, parent);
  if (directory.is_nil()) co_return;
  const OpContext context = request.context();
  names_change(parent);
  co_await answer_entry(std::move(request), parent, name, volume_.mkdir(context, directory, name, object));
  changed_here(parent);
}

Task<void> Bridge::symlink(Request request, NodeId parent, std::string name, std::string target) {
  const Gfid directory = gfid_or_stale(request, parent);
  if (directory.is_nil()) co_return;
  const OpContext context = request.context();
  names_change(parent);
  co_await answer_entry(std::move(request), parent, name, volume_.symlink(context, directory, name, target));
  changed_here(parent);
}

Task<void> Bridge::link(Request request, NodeId node, NodeId parent, std::string name) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  const Gfid directory = gfid_or_stale(request, parent);
  if (directory.is_nil()) co_return;
  const OpContext context = request.context();
  names_change(parent);
  co_await answer_entry(std::move(request), parent, name, volume_.link(context, gfid, directory, name));
  changed_here(parent);
}

Task<void> Bridge::unlink(Request request, NodeId parent, std::string name) {
  const Gfid directory = gfid_or_stale(request, parent);
  if (directory.is_nil()) co_return;
  names_change(parent);
  auto done = co_await volume_.unlink(request.context(), directory, name);
  changed_here(parent);
  done ? request.ok() : request.fail(done.error());
}

Task<void> Bridge::rmdir(Request request, NodeId parent, std::string name) {
  const Gfid directory = gfid_or_stale(request, parent);
  if (directory.is_nil()) co_return;
  names_change(parent);
  const NodeId dies = inodes_.directory_at(
      parent, name);  // as the kernel believes, which holds the name's lock until it is answered
  auto done = co_await volume_.rmdir(request.context(), directory, name);
  changed_here(parent);
  if (done) inodes_.retire(dies);
  done ? request.ok() : request.fail(done.error());
}

Task<void> Bridge::rename(Request request, NodeId from, std::string from_name, NodeId to, std::string to_name,
                          unsigned flags) {
  const Gfid from_directory = gfid_or_stale(request, from);
  if (from_directory.is_nil()) co_return;
  const Gfid to_directory = gfid_or_stale(request, to);
  if (to_directory.is_nil()) co_return;
  names_change(from);
  names_change(to);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  const NodeId dies = exchange ? 0 : inodes_.directory_at(to, to_name);
  auto done =
      co_await volume_.rename(request.context(), from_directory, from_name, to_directory, to_name, flags);
  changed_here(from);
  changed_here(to);
  if (done) {
    inodes_.retire(dies);
    inodes_.moved(from, from_name, to, to_name, exchange);
  }
  done ? request.ok() : request.fail(done.error());
}

void Bridge::forgot() {
  constexpr std::size_t kMany = 4096, kMost = 4;
  const std::size_t known = inodes_.size();
  if (known > known_before_) known_before_ = known;
  if (known_before_ < kMany || known > known_before_ / kMost) return;
  known_before_ = known;
  inodes_.shrink();
  options_.forgotten();
}

void Bridge::changed_here(NodeId node) {
  // The kernel made the change through us and drops its attributes of the object by itself.
  if (Inode* inode = inodes_.find(node)) inode->attr_until = std::chrono::nanoseconds(0);
}

void Bridge::invalidate(const Invalidation& change) {
  if (change.gfid.is_nil() && !change.entry) {
    directories_.clear();
    for (NodeId node : inodes_.all()) inodes_.find(node)->forget_xattrs();
    invalidator->everything();
    return;
  }
  if (const NodeId node = inodes_.node_of(change.gfid)) {
    directories_.erase(node);
    inodes_.find(node)->forget_xattrs();
    invalidator->object(node);
  }
  if (change.entry)
    if (const NodeId parent = inodes_.node_of(change.entry->parent)) {
      directories_.erase(parent);
      invalidator->entry(parent, change.entry->name);
      invalidator->object(parent);
    }
}

}  // namespace polder
