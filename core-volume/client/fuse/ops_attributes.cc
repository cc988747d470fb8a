// SPDX-License-Identifier: GPL-3.0-or-later
// Attributes, extended attributes, free space.
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/coro.h"
#include "core-volume/client/fuse/bridge.h"
#include "core-volume/client/fuse/fuse_server.h"
#include "core-volume/layer/posix_acl.h"

namespace polder {

namespace {

constexpr std::string_view kTrusted = "trusted.";
constexpr std::string_view kSelinuxLabel = "security.selinux";

/// Where there is no SELinux, `ls -l` asks each file for its label all the same, until it hears that the file
/// system has none: half of its requests. So that is said of who has none (D9).
int error_of_absent(std::string_view key) {
  return key == kSelinuxLabel ? EOPNOTSUPP : ENODATA;
}

}  // namespace

void Bridge::answer_attributes(Request& request, NodeId node, const FileAttr& attr) {
  if (Inode* inode = inodes_.find(node)) told_attributes(*inode, attr);
  request.attributes(to_stat(attr), std::chrono::duration<double>(options_.attribute_timeout).count());
}

Task<void> Bridge::getattr(Request request, NodeId node) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  auto attr = co_await volume_.getattr(request.context(), gfid);
  if (attr)
    answer_attributes(request, node, *attr);
  else
    request.fail(attr.error());
}

Task<void> Bridge::setattr(Request request, NodeId node, SetAttr change, bool set_ids) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  // The kernel may ask for nothing at all (a flag that this mount does not use): then it wants the
  // attributes.
  if (change.fields == 0) {
    co_await getattr(std::move(request), node);
    co_return;
  }
  if (takes_privileges) {
    if (request.failed(co_await take_privileges(request, node, gfid, change, set_ids))) co_return;
  }
  directories_.erase(node);
  auto attr = co_await volume_.setattr(request.context(), gfid, change);
  directories_.erase(node);
  if (attr)
    answer_attributes(request, node, *attr);
  else
    request.fail(attr.error());
}

Task<void> Bridge::readlink(Request request, NodeId node) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  auto target = co_await volume_.readlink(request.context(), gfid);
  if (target)
    request.target(*target);
  else
    request.fail(target.error());
}

// The kernel asks for file capabilities before a write, to know whether the write must remove them (before
// each one, or before the first one after it got the attributes: privileges.cc). "None" is remembered as long
// as attributes are: a capability set through another mount is seen as late as a mode. And `ls -l` asks for
// the ACL of each file, whose attributes have just said that there is none.
bool Bridge::getxattr_now(Request& request, NodeId node, std::string_view key) {
  const Inode* inode = inodes_.find(node);
  if (inode == nullptr) return false;
  const auto now = clock_.boot_time();
  const bool absent = key == kCapability ? !may_have_capability(*inode) : inode->plain_until > now;
  if (absent) request.fail(error_of_absent(key));
  return absent;
}

bool Bridge::listxattr_now(Request& request, NodeId node, std::size_t asked_bytes) {
  const Inode* inode = inodes_.find(node);
  if (inode == nullptr || inode->plain_until <= clock_.boot_time()) return false;
  request.xattr({}, asked_bytes);
  return true;
}

void Bridge::xattrs_change(NodeId node) {
  Inode* inode = inodes_.find(node);
  if (inode == nullptr) return;
  inode->forget_xattrs();
  inode->plain_after = clock_.boot_time() + options_.attribute_timeout;
}

Task<void> Bridge::getxattr(Request request, NodeId node, std::string key, std::size_t asked_bytes) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  const bool is_capability = key == kCapability;
  const auto asked_at = clock_.boot_time();
  auto value = co_await volume_.getxattr(request.context(), gfid, key);
  if (value) {
    request.xattr(*value, asked_bytes);
    co_return;
  }
  if (!value.error().is(ENODATA)) {
    request.fail(value.error());
    co_return;
  }
  if (is_capability) no_capability(node, asked_at);
  request.fail(error_of_absent(key));
}

void Bridge::no_capability(NodeId node, std::chrono::nanoseconds asked_at) {
  if (Inode* inode = inodes_.find(node)) inode->no_capability_until = asked_at + options_.attribute_timeout;
}

Task<void> Bridge::listxattr(Request request, NodeId node, std::size_t asked_bytes) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  auto keys = co_await volume_.listxattr(request.context(), gfid);
  if (!keys) {
    request.fail(keys.error());
    co_return;
  }
  std::string list;
  for (const std::string& key : *keys) {
    // The kernel's own file systems show this name space to root only; FUSE leaves it to us.
    if (request.context().uid != 0 && std::string_view(key).starts_with(kTrusted)) continue;
    list += key;
    list += '\0';
  }
  request.xattr(list, asked_bytes);
}

Task<void> Bridge::setxattr(Request request, NodeId node, std::string key, std::string value, int flags) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  xattrs_change(node);
  auto done = co_await volume_.setxattr(request.context(), gfid, key, value, flags);
  if (done && key == kAclAccess) co_await drop_set_group_id(request, gfid);
  directories_.erase(node);
  // Again: a question that the kernel asked meanwhile may have been answered with the state before.
  xattrs_change(node);
  changed_here(node);
  done ? request.ok() : request.fail(done.error());
}

Task<void> Bridge::removexattr(Request request, NodeId node, std::string key) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  auto done = co_await volume_.removexattr(request.context(), gfid, key);
  directories_.erase(node);
  changed_here(node);
  done ? request.ok() : request.fail(done.error());
}

Task<void> Bridge::statfs(Request request) {
  auto space = co_await volume_.statfs(request.context());
  if (!space) {
    request.fail(space.error());
    co_return;
  }
  struct statvfs st{};
  st.f_bsize = space->block_size;
  st.f_frsize = space->block_size;
  st.f_blocks = space->blocks;
  st.f_bfree = space->blocks_free;
  st.f_bavail = space->blocks_available;
  st.f_files = space->files;
  st.f_ffree = space->files_free;
  st.f_favail = space->files_free;
  st.f_namemax = space->name_max;
  request.space(st);
}

}  // namespace polder
