// SPDX-License-Identifier: GPL-3.0-or-later
// SimDisk: extended attributes, with the kernel's namespaces and its treatment of POSIX ACLs.
#include <linux/limits.h>
#include <sys/xattr.h>

#include "tests/support/sim_acl.h"
#include "tests/support/sim_disk_state.h"

namespace polder {

namespace {

bool is_acl(std::string_view key) {
  return key == SimAcl::kAccess || key == SimAcl::kDefault;
}

Result<void> check_has_acls(const SimMeta& meta, std::string_view key) {
  if (is_acl(key) && meta.is_symlink()) return Error(EOPNOTSUPP);
  return {};
}

/// `other_type`: what to answer for user attributes of what is neither file nor directory.
Result<void> check_key(const SimMeta& meta, std::string_view key, int other_type) {
  if (key.find('\0') != key.npos) return Error(EINVAL);
  if (key.empty() || key.size() > XATTR_NAME_MAX) return Error(ERANGE);
  if (key.starts_with("user.") && !meta.is_file() && !meta.is_directory()) return Error(other_type);
  for (std::string_view prefix : {"user.", "trusted.", "security."})
    if (key.starts_with(prefix)) return key.size() > prefix.size() ? Result<void>() : Error(EINVAL);
  if (!is_acl(key)) return Error(EOPNOTSUPP);
  return {};
}

/// Puts an ACL into place as the kernel does: one that mode bits can say becomes mode bits.
Result<void> set_acl(SimMeta& meta, const std::string& key, std::string_view value) {
  TRY(auto acl, SimAcl::parse(value));
  TRY(check_has_acls(meta, key));
  if (key == SimAcl::kDefault && !meta.is_directory())
    return acl ? Result<void>(Error(EACCES)) : Result<void>();
  if (acl && !acl->is_valid()) return Error(EINVAL);
  if (key == SimAcl::kAccess && acl) {
    meta.mode = (meta.mode & ~0777U) | acl->mode_bits();
    if (acl->is_only_mode()) acl.reset();
  }
  meta.xattrs.erase(key);
  if (acl) meta.xattrs[key] = acl->serialize();
  return {};
}

}  // namespace

Result<std::string> SimDisk::State::get_xattr(Inode inode, const std::string& key) {
  const SimMeta& found = meta(inode);
  TRY(check_key(found, key, ENODATA));
  TRY(check_has_acls(found, key));
  auto value = found.xattrs.find(key);
  if (value == found.xattrs.end()) return Error(ENODATA);
  return value->second;
}

Result<void> SimDisk::State::set_xattr(Inode inode, const std::string& key, std::string_view value,
                                       int flags) {
  SimMeta after = meta(inode);
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return Error(EINVAL);
  if (value.size() > XATTR_SIZE_MAX) return Error(E2BIG);
  TRY(check_key(after, key, EPERM));
  after.ctime = now();
  if (is_acl(key)) {
    TRY(set_acl(after, key, value));
  } else {
    bool exists = after.xattrs.contains(key);
    if (exists && (flags & XATTR_CREATE)) return Error(EEXIST);
    if (!exists && (flags & XATTR_REPLACE)) return Error(ENODATA);
    after.xattrs[key] = value;
  }
  set_meta(inode, after);
  return {};
}

Result<void> SimDisk::State::remove_xattr(Inode inode, const std::string& key) {
  SimMeta after = meta(inode);
  TRY(check_key(after, key, EPERM));
  TRY(check_has_acls(after, key));
  // The kernel does not mind when an ACL to be removed is not there.
  if (after.xattrs.erase(key) == 0 && !is_acl(key)) return Error(ENODATA);
  after.ctime = now();
  set_meta(inode, after);
  return {};
}

std::vector<std::string> SimDisk::State::list_xattr(Inode inode) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : meta(inode).xattrs) keys.push_back(key);
  return keys;
}

Result<std::string> SimDisk::get_xattr(int fd, const std::string& key) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto found, call.state.handle(fd));
  return call.state.get_xattr(found.inode, key);
}

Result<void> SimDisk::set_xattr(int fd, const std::string& key, std::string_view value, int flags) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto found, call.state.handle(fd));
  return call.state.set_xattr(found.inode, key, value, flags);
}

Result<void> SimDisk::remove_xattr(int fd, const std::string& key) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto found, call.state.handle(fd));
  return call.state.remove_xattr(found.inode, key);
}

Result<std::vector<std::string>> SimDisk::list_xattr(int fd) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto found, call.state.handle(fd));
  return call.state.list_xattr(found.inode);
}

Result<std::string> SimDisk::get_xattr_at(int dir, const std::string& name, const std::string& key) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto inode, call.state.object(dir, name));
  return call.state.get_xattr(inode, key);
}

Result<void> SimDisk::set_xattr_at(int dir, const std::string& name, const std::string& key,
                                   std::string_view value, int flags) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto inode, call.state.object(dir, name));
  return call.state.set_xattr(inode, key, value, flags);
}

Result<void> SimDisk::remove_xattr_at(int dir, const std::string& name, const std::string& key) {
  Change call(*this);
  TRY(call.allowed);
  TRY(auto inode, call.state.object(dir, name));
  return call.state.remove_xattr(inode, key);
}

Result<std::vector<std::string>> SimDisk::list_xattr_at(int dir, const std::string& name) {
  Call call(*this);
  TRY(call.allowed);
  TRY(auto inode, call.state.object(dir, name));
  return call.state.list_xattr(inode);
}

}  // namespace polder
