// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/posix_rules.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core-volume/layer/brick_xattrs.h"

namespace polder {

namespace {

constexpr std::uint32_t kPermissions = 07777;

bool is_time(const timespec& time) {
  return time.tv_nsec >= 0 && time.tv_nsec < 1'000'000'000;
}

}  // namespace

timespec time_from_ns(std::uint64_t ns) {
  return Hlc{ns}.to_timespec();
}

std::uint64_t time_to_ns(const timespec& time) {
  if (time.tv_sec < 0) return 0;
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t entry_cookie(std::string_view name) {
  return (XXH3_64bits(name.data(), name.size()) >> 2) + 3;
}

// --- new objects

Result<ObjectState> state_of_new_object(const OpContext& ctx, const ParentFacts& parent,
                                        const NewObject& object) {
  ObjectState state;
  state.mode = object.mode & (S_IFMT | kPermissions);
  state.uid = ctx.uid;
  state.gid = ctx.gid;
  const bool is_directory = S_ISDIR(state.mode);
  if (S_ISCHR(state.mode) || S_ISBLK(state.mode)) {
    state.rdev_major = object.rdev_major;
    state.rdev_minor = object.rdev_minor;
  }
  if (parent.mode & S_ISGID) {
    state.gid = parent.gid;
    if (is_directory) state.mode |= S_ISGID;
  }
  Result<std::optional<Acl>> inherited = parse_acl(parent.default_acl);
  if (!inherited) return Error(EIO).with("default ACL of the parent: {}", inherited.error().message());
  if (!*inherited) {
    state.mode &= ~(object.umask & 0777);
    return state;
  }
  Acl access = acl_for_new_object(**inherited, state.mode);
  if (!access.equals_mode()) state.xattrs[std::string(kAclAccess)] = build_acl(access);
  if (is_directory) state.xattrs[std::string(kAclDefault)] = build_acl(**inherited);
  return state;
}

Result<ObjectState> state_of_new_symlink(const OpContext& ctx, const ParentFacts& parent,
                                         std::string_view target) {
  if (target.empty()) return Error(ENOENT);
  if (target.size() > kSymlinkMax_bytes) return Error(ENAMETOOLONG);
  if (target.find('\0') != std::string_view::npos) return Error(EINVAL);
  ObjectState state;
  state.mode = S_IFLNK | 0777;
  state.uid = ctx.uid;
  state.gid = parent.mode & S_ISGID ? parent.gid : ctx.gid;
  state.target = std::string(target);
  return state;
}

Result<std::uint32_t> mode_for_mknod(std::uint32_t mode) {
  const std::uint32_t permissions = mode & kPermissions;
  switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
      return S_IFREG | permissions;
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      return (mode & S_IFMT) | permissions;
    case S_IFDIR:
      return Error(EPERM);
    default:
      return Error(EINVAL);
  }
}

Result<std::uint32_t> mode_for_mkdir(std::uint32_t mode) {
  if ((mode & S_IFMT) != 0 && !S_ISDIR(mode)) return Error(EINVAL);
  return S_IFDIR | (mode & kPermissions);
}

Result<std::uint32_t> mode_for_create(std::uint32_t mode) {
  if ((mode & S_IFMT) != 0 && !S_ISREG(mode)) return Error(EINVAL);
  return S_IFREG | (mode & kPermissions);
}

// --- rename

Result<RenameAction> check_rename(const RenameFacts& facts, unsigned flags) {
  const bool exchange = flags & RENAME_EXCHANGE, no_replace = flags & RENAME_NOREPLACE;
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE | RENAME_EXCHANGE)) || (exchange && no_replace))
    return Error(EINVAL).with("rename with flags {:#x}", flags);
  if (no_replace && facts.target) return Error(EEXIST);
  if (exchange && !facts.target) return Error(ENOENT);
  if (facts.source_above_target) return Error(EINVAL);
  if (facts.target_above_source) return Error(exchange ? EINVAL : ENOTEMPTY);
  if (!facts.target) return RenameAction::kMove;
  if (facts.source.gfid == facts.target->gfid) return RenameAction::kNothing;
  if (exchange) return RenameAction::kExchange;
  if (facts.source.is_directory() && !facts.target->is_directory()) return Error(ENOTDIR);
  if (!facts.source.is_directory() && facts.target->is_directory()) return Error(EISDIR);
  if (facts.target->is_directory() && !facts.target_empty) return Error(ENOTEMPTY);
  return RenameAction::kReplace;
}

// --- attributes

Result<void> check_setattr(const FileAttr& object, const SetAttr& change) {
  constexpr std::uint32_t kKnown = SetAttr::kMode | SetAttr::kUid | SetAttr::kGid | SetAttr::kSize |
                                   SetAttr::kAtime | SetAttr::kMtime | SetAttr::kAtimeNow |
                                   SetAttr::kMtimeNow | SetAttr::kCtimeNow;
  if (change.fields & ~kKnown) return Error(EINVAL).with("setattr with fields {:#x}", change.fields);
  if (change.fields & SetAttr::kMode) {
    if (S_ISLNK(object.mode)) return Error(EOPNOTSUPP);
    if (change.mode & ~kPermissions) return Error(EINVAL).with("setattr of mode {:#o}", change.mode);
  }
  if (change.fields & SetAttr::kSize) {
    TRY(check_data_object(object));
    if (change.size > kFileSizeMax) return Error(EFBIG);
  }
  if ((change.fields & SetAttr::kAtime && !is_time(change.atime)) ||
      (change.fields & SetAttr::kMtime && !is_time(change.mtime)))
    return Error(EINVAL).with("setattr of a time with nanoseconds out of range");
  return {};
}

ObjectState state_after_setattr(const FileAttr& object, const SetAttr& change, timespec now) {
  ObjectState state;
  state.mode = change.fields & SetAttr::kMode ? (object.mode & S_IFMT) | change.mode : object.mode;
  state.uid = change.fields & SetAttr::kUid ? change.uid : object.uid;
  state.gid = change.fields & SetAttr::kGid ? change.gid : object.gid;
  state.rdev_major = object.rdev_major;
  state.rdev_minor = object.rdev_minor;
  state.atime = change.fields & SetAttr::kAtime ? change.atime : object.atime;
  state.mtime = change.fields & SetAttr::kMtime ? change.mtime : object.mtime;
  if (change.fields & SetAttr::kAtimeNow) state.atime = now;
  if (change.fields & SetAttr::kMtimeNow) state.mtime = now;
  return state;
}

Result<void> check_xattr_key(std::string_view key) {
  if (key.empty() || key.size() > kXattrKeyMax_bytes) return Error(ERANGE);
  if (key.find('\0') != std::string_view::npos) return Error(EINVAL);
  if (is_acl_key(key)) return {};
  for (std::string_view space : {"user.", "trusted.", "security."})
    if (key.starts_with(space)) return key.size() > space.size() ? Result<void>() : Error(EINVAL);
  return Error(EOPNOTSUPP);
}

namespace {

Result<void> check_xattr_change(const FileAttr& object, std::string_view key) {
  TRY(check_xattr_key(key));
  if (is_private_xattr(key)) return Error(EPERM).with("{} is Polder's own", key);
  if (key.starts_with("user.") && !object.is_regular() && !object.is_directory()) return Error(EPERM);
  if (is_acl_key(key) && S_ISLNK(object.mode)) return Error(EOPNOTSUPP);
  return {};
}

Result<XattrPlan> plan_set_acl(const XattrFacts& facts, std::string_view key, std::string_view value) {
  TRY(std::optional<Acl> acl, parse_acl(value));
  XattrPlan plan{.value = std::nullopt, .mode = facts.object.mode};
  if (key == kAclDefault && !facts.object.is_directory()) {
    if (acl) return Error(EACCES).with("default ACL of what is not a directory");
    plan.nothing = true;
    return plan;
  }
  if (!acl) {
    plan.nothing = !facts.exists;
    return plan;
  }
  if (key == kAclAccess) plan.mode = (facts.object.mode & ~0777u) | acl->mode_bits();
  if (key == kAclDefault || !acl->equals_mode()) plan.value = build_acl(*acl);
  return plan;
}

}  // namespace

Result<XattrPlan> plan_setxattr(const XattrFacts& facts, std::string_view key, std::string_view value,
                                int flags) {
  TRY(check_xattr_change(facts.object, key));
  // A copy from XFS brings them; the ACL itself comes under its own name.
  if (is_brick_acl(key)) return XattrPlan{.value = std::nullopt, .mode = facts.object.mode, .nothing = true};
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return Error(EINVAL).with("setxattr with flags {:#x}", flags);
  if (value.size() > kXattrValueMax_bytes) return Error(E2BIG);
  if (is_acl_key(key)) return plan_set_acl(facts, key, value);  // Linux ignores the flags here
  if ((flags & XATTR_CREATE) && facts.exists) return Error(EEXIST);
  if ((flags & XATTR_REPLACE) && !facts.exists) return Error(ENODATA);
  return XattrPlan{.value = std::string(value), .mode = facts.object.mode};
}

Result<XattrPlan> plan_removexattr(const XattrFacts& facts, std::string_view key) {
  TRY(check_xattr_change(facts.object, key));
  if (!facts.exists && !is_acl_key(key)) return Error(ENODATA);
  return XattrPlan{.value = std::nullopt, .mode = facts.object.mode, .nothing = !facts.exists};
}

// --- data

Result<void> check_data_object(const FileAttr& object) {
  if (object.is_directory()) return Error(EISDIR);
  if (!object.is_regular()) return Error(EINVAL);
  return {};
}

Result<void> check_extent(std::uint64_t offset, std::uint64_t length) {
  if (offset > kFileSizeMax || length > kFileSizeMax - offset) return Error(EFBIG);
  return {};
}

Result<void> check_open(const FileAttr& object, int flags) {
  if (S_ISLNK(object.mode)) return Error(ELOOP);
  if ((flags & O_DIRECTORY) && !object.is_directory()) return Error(ENOTDIR);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
  if (object.is_directory() && writes) return Error(EISDIR);
  if (!object.is_directory() && !object.is_regular()) return Error(ENXIO);
  return {};
}

Result<FallocatePlan> plan_fallocate(const FileAttr& object, int mode, std::uint64_t offset,
                                     std::uint64_t length) {
  TRY(check_data_object(object));
  if (length == 0) return Error(EINVAL);
  TRY(check_extent(offset, length));
  switch (mode) {
    case 0:
      return FallocatePlan{RecordKind::kFallocate, false};
    case FALLOC_FL_KEEP_SIZE:
      return FallocatePlan{RecordKind::kFallocate, true};
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
      return FallocatePlan{RecordKind::kPunch, true};
    case FALLOC_FL_ZERO_RANGE:
      return FallocatePlan{RecordKind::kZero, false};
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
      return FallocatePlan{RecordKind::kZero, true};
    default:
      return Error(EOPNOTSUPP);
  }
}

Result<std::uint64_t> plan_copy_range(const FileAttr& from, std::uint64_t from_offset, const FileAttr& to,
                                      std::uint64_t to_offset, std::uint64_t length) {
  TRY(check_data_object(from));
  TRY(check_data_object(to));
  if (from_offset >= from.size || length == 0) return std::uint64_t{0};
  length = std::min(length, from.size - from_offset);
  TRY(check_extent(to_offset, length));
  const bool overlap = from_offset < to_offset + length && to_offset < from_offset + length;
  if (from.gfid == to.gfid && overlap) return Error(EINVAL);
  return length;
}

}  // namespace polder
