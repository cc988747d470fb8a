// SPDX-License-Identifier: GPL-3.0-or-later
// Set-user-id and set-group-id bits and file capabilities: whoever changes a program takes them away from it
// (chown(2), write(2), truncate(2)). By default the kernel sees to that, and asks before each write whether
// there is a capability: one more request for each. With FUSE_HANDLE_KILLPRIV_V2 it says who asks, and it is
// done here, on what this mount knows of the file.
#include <sys/stat.h>

#include "base/coro.h"
#include "base/log.h"
#include "core-volume/client/fuse/bridge.h"
#include "core-volume/client/fuse/fuse_server.h"

namespace polder {

namespace {

/// The bits that a change takes away. A set-group-id bit without execution for the group is no privilege.
std::uint32_t set_ids_of(std::uint32_t mode) {
  if (!S_ISREG(mode)) return 0;
  std::uint32_t bits = mode & S_ISUID;
  if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) bits |= S_ISGID;
  return bits;
}

SetAttr without(std::uint32_t mode, std::uint32_t bits) {
  SetAttr change;
  change.fields = SetAttr::kMode;
  change.mode = mode & 07777 & ~bits;
  return change;
}

}  // namespace

bool Bridge::may_have_capability(const Inode& inode) const {
  const auto now = clock_.boot_time();
  return inode.no_capability_until <= now && inode.plain_until <= now;
}

bool Bridge::may_have_privileges(NodeId node, bool set_ids) {
  const Inode* inode = inodes_.find(node);
  return inode != nullptr && ((set_ids && set_ids_of(inode->mode) != 0) || may_have_capability(*inode));
}

Task<Result<void>> Bridge::drop_privileges(const OpContext& context, NodeId node, Gfid gfid, bool set_ids) {
  CO_TRY(co_await drop_capability(context, node, gfid));
  Inode* inode = inodes_.find(node);
  if (!set_ids || inode == nullptr) co_return Result<void>();
  const auto bits = set_ids_of(inode->mode);
  if (bits == 0) co_return Result<void>();
  CO_TRY(auto attr, co_await volume_.setattr(context, gfid, without(inode->mode, bits)));
  inode = inodes_.find(node);
  if (inode == nullptr) co_return Result<void>();
  inode->mode = attr.mode;
  co_await invalidator->attributes_now(node);  // a program is started with the mode that the kernel believes
  co_return Result<void>();
}

Task<Result<void>> Bridge::drop_capability(const OpContext& context, NodeId node, Gfid gfid) {
  const Inode* inode = inodes_.find(node);
  if (inode == nullptr || !may_have_capability(*inode)) co_return Result<void>();
  const auto asked_at = clock_.boot_time();
  auto value = co_await volume_.getxattr(context, gfid, kCapability);
  if (!value) {
    if (value.error().is(ENODATA)) no_capability(node, asked_at);
    co_return Result<void>();  // as the kernel takes it: what cannot be read is not there
  }
  xattrs_change(node);
  auto removed = co_await volume_.removexattr(context, gfid, kCapability);
  xattrs_change(node);
  if (removed.failed_with(ENODATA)) co_return Result<void>();
  co_return removed;
}

/// What a truncation or another owner takes away, added to the change. The mode is asked for: this is rare,
/// and the answer decides who may run what.
Task<Result<void>> Bridge::take_privileges(const Request& request, NodeId node, Gfid gfid, SetAttr& change,
                                           bool set_ids) {
  const OpContext context = request.context();
  const bool owner = (change.fields & (SetAttr::kUid | SetAttr::kGid)) != 0;
  if ((change.fields & SetAttr::kSize) != 0) {
    CO_TRY(co_await drop_capability(context, node, gfid));
  }
  if ((change.fields & SetAttr::kMode) != 0 || !(owner || set_ids)) co_return Result<void>();
  CO_TRY(auto attr, co_await volume_.getattr(context, gfid));
  auto bits = set_ids_of(attr.mode);
  if (owner && S_ISREG(attr.mode) && context.uid != 0 && !request.is_in_group(attr.gid))
    bits |= attr.mode & S_ISGID;
  if (bits == 0) co_return Result<void>();
  change.fields |= SetAttr::kMode;
  change.mode = without(attr.mode, bits).mode;
  co_return Result<void>();
}

/// Of a file that was opened and cut to nothing. What cannot be taken now, the first write takes.
Task<void> Bridge::drop_privileges_of_opened(const OpContext& context, NodeId node, Opened& opened,
                                             bool set_ids) {
  (void)co_await drop_capability(context, node, opened.attr.gfid);
  const auto bits = set_ids ? set_ids_of(opened.attr.mode) : 0;
  if (bits == 0) co_return;
  auto attr = co_await volume_.setattr(context, opened.attr.gfid, without(opened.attr.mode, bits));
  if (attr) opened.attr = *attr;
}

// Whoever sets the ACL of a file of a group that is not theirs takes its set-group-id bit away. The kernel's
// own file systems do that; FUSE leaves it to us.
Task<void> Bridge::drop_set_group_id(const Request& request, Gfid gfid) {
  const OpContext context = request.context();
  if (context.uid == 0) co_return;
  auto attr = co_await volume_.getattr(context, gfid);
  if (!attr || !S_ISREG(attr->mode) || (attr->mode & S_ISGID) == 0 || request.is_in_group(attr->gid))
    co_return;
  auto done = co_await volume_.setattr(context, gfid, without(attr->mode, S_ISGID));
  if (!done) log::warning("set-group-id bit of {}: {}", gfid.hex(), done.error().message());
}

}  // namespace polder
