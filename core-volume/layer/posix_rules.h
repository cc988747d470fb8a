// SPDX-License-Identifier: GPL-3.0-or-later
// The rules of POSIX and Linux that decide what an operation means, as pure functions: whoever orders changes
// (the ordering layer, the memory layer) asks them and puts the answer into the record. Nothing here does
// I/O.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/names.h"
#include "base/result.h"
#include "changelog/record/record.h"
#include "core-volume/layer/file_attr.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layer/posix_acl.h"

namespace polder {

constexpr std::uint32_t kLinkMax = 65000;            // names of one file: ext4's limit, the lowest in use
constexpr std::size_t kSymlinkMax_bytes = 4095;      // PATH_MAX - 1
constexpr std::size_t kXattrKeyMax_bytes = 255;      // XATTR_NAME_MAX
constexpr std::size_t kXattrValueMax_bytes = 65536;  // XATTR_SIZE_MAX
constexpr std::uint64_t kFileSizeMax = INT64_MAX;    // loff_t
constexpr std::string_view kPrivateXattrs = "trusted.polder.";

/// xattrs that Polder keeps for itself: ENODATA on reading, EPERM on writing, never listed or shipped.
constexpr bool is_private_xattr(std::string_view key) {
  return key.starts_with(kPrivateXattrs);
}

timespec time_from_ns(std::uint64_t ns);
/// 0 before the epoch.
std::uint64_t time_to_ns(const timespec& time);

// --- directories -------------------------------------------------------------------------------------------

/// Where `name` stands in a directory's listing: xxh3-64(name) / 4 + 3, in [3, 2^62 + 3). A function of the
/// name alone, so a listing goes on after a restart, and on another brick. Listings are in (cookie, name)
/// order; a page never ends between equal cookies. 0 starts; 1 and 2 are the client's "." and "..".
std::uint64_t entry_cookie(std::string_view name);

// --- new objects -------------------------------------------------------------------------------------------

/// What a new object gets from its parent.
struct ParentFacts {
  std::uint32_t mode = 0;  // with type bits
  std::uint32_t gid = 0;
  std::string default_acl;  // value of kAclDefault, empty when there is none
};

/// The complete state of a new object (times left 0; target empty): owner from `ctx`; group from a setgid
/// parent, and that bit itself for directories; permissions from mode & ~umask, or from the parent's default
/// ACL, which new directories inherit too (state.xattrs). `object.mode` carries the type bits. EIO when the
/// parent's stored ACL is damaged.
Result<ObjectState> state_of_new_object(const OpContext& ctx, const ParentFacts& parent,
                                        const NewObject& object);
/// A symlink's: mode 0777, no ACL. ENOENT for an empty target, ENAMETOOLONG, EINVAL for a NUL inside.
Result<ObjectState> state_of_new_symlink(const OpContext& ctx, const ParentFacts& parent,
                                         std::string_view target);

/// The mode of `object` with the type that the operation makes; EINVAL (mknod of a directory: EPERM) when its
/// type bits say something else. mknod takes S_IFREG (or none), FIFO, socket and devices.
Result<std::uint32_t> mode_for_mknod(std::uint32_t mode);
Result<std::uint32_t> mode_for_mkdir(std::uint32_t mode);
Result<std::uint32_t> mode_for_create(std::uint32_t mode);

// --- rename ------------------------------------------------------------------------------------------------

struct RenameFacts {
  FileAttr source;                   // the object at the old name (ENOENT is the caller's)
  std::optional<FileAttr> target;    // the object at the new name
  bool target_empty = true;          // target is a directory without entries
  bool source_above_target = false;  // source is the new parent or one of its ancestors
  bool target_above_source = false;  // target is the old parent or one of its ancestors
};

enum class RenameAction {
  kNothing,  // both names show the same object: success, and nothing changes, times included
  kMove,     // the new name was free
  kReplace,  // target loses this name
  kExchange,
};

/// EINVAL (flags; into its own subtree), EEXIST (NOREPLACE), ENOENT (EXCHANGE without target), ENOTDIR,
/// EISDIR, ENOTEMPTY, checked in Linux's order.
Result<RenameAction> check_rename(const RenameFacts& facts, unsigned flags);

// --- attributes --------------------------------------------------------------------------------------------

/// EISDIR/EINVAL for a size of what is not a regular file, EFBIG, EOPNOTSUPP for the mode of a symlink,
/// EINVAL for unknown fields or times that are none.
Result<void> check_setattr(const FileAttr& object, const SetAttr& change);
/// mode, uid, gid and times of `object` after `change` (whose size is not looked at); `now` for "now" fields.
/// If the mode changes and the object has an access ACL, that follows by acl_after_chmod().
ObjectState state_after_setattr(const FileAttr& object, const SetAttr& change, timespec now);

/// What is already there, for plan_setxattr/plan_removexattr.
struct XattrFacts {
  FileAttr object;
  bool exists = false;  // the key has a value
};

/// What to record: kXattr with key, value (absent: removed) and mode. `nothing`: success without any change.
struct XattrPlan {
  std::optional<std::string> value;
  std::uint32_t mode = 0;
  bool nothing = false;
};

/// Name space user, trusted, security or system.posix_acl_*. EPERM for private keys and user.* on other than
/// files and directories, EOPNOTSUPP for other name spaces and ACLs of symlinks, ERANGE for the key's length,
/// E2BIG for the value's, EINVAL (flags, ACL), EEXIST, ENODATA, EACCES for a default ACL of a non-directory.
/// Setting an ACL equal to a mode sets the mode only.
Result<XattrPlan> plan_setxattr(const XattrFacts& facts, std::string_view key, std::string_view value,
                                int flags);
/// ENODATA when it is not there; removing an ACL that is not there is `nothing`.
Result<XattrPlan> plan_removexattr(const XattrFacts& facts, std::string_view key);
/// Reading: ENODATA for private keys and foreign name spaces' unknown keys is the caller's look-up; this
/// refuses what cannot exist (ERANGE, EOPNOTSUPP).
Result<void> check_xattr_key(std::string_view key);

// --- data --------------------------------------------------------------------------------------------------

/// EISDIR for directories, EINVAL for other things than regular files.
Result<void> check_data_object(const FileAttr& object);
/// EFBIG when offset + length passes kFileSizeMax.
Result<void> check_extent(std::uint64_t offset, std::uint64_t length);
/// What opening `object` with `flags` allows: ELOOP (symlink), ENOTDIR (O_DIRECTORY), EISDIR (writing to a
/// directory), ENXIO (fifos, sockets and devices are opened by the client's kernel).
Result<void> check_open(const FileAttr& object, int flags);

/// fallocate's modes as records have them. EOPNOTSUPP for unknown ones, EINVAL for length 0, EFBIG.
struct FallocatePlan {
  RecordKind kind = RecordKind::kFallocate;  // kFallocate, kPunch or kZero
  bool keep_size = false;
};
Result<FallocatePlan> plan_fallocate(const FileAttr& object, int mode, std::uint64_t offset,
                                     std::uint64_t length);

/// Bytes that copy_range will copy; 0: nothing to do. EINVAL for overlapping ranges of one file, EFBIG.
Result<std::uint64_t> plan_copy_range(const FileAttr& from, std::uint64_t from_offset, const FileAttr& to,
                                      std::uint64_t to_offset, std::uint64_t length);

}  // namespace polder
