// SPDX-License-Identifier: GPL-3.0-or-later
// FileOps: the one interface between layers. Every layer of the client and brick stacks implements it, does
// its part and awaits the layer below. Layers meet nowhere else.
//
// Rules for all operations:
// - Loop thread only. `ctx` and references in arguments outlive the operation (the caller's frame holds
// them).
// - An operation either happened completely or not at all; an error with maybe_applied() says that it is
// unknown which.
//   Durable only after fsync() or sync() returned; visible to every later operation as soon as it returned.
// - Names are single components of 1..255 bytes, any byte but '/' and NUL, neither "." nor "..": EINVAL or
// ENAMETOOLONG
//   otherwise. They need not be UTF-8.
// - Objects are named by gfid; ESTALE when the object is gone (ENOENT is for names).
// - Permissions are the client kernel's business; uid/gid in the context are for ownership of new objects.
// - Cancelling the awaiting task ends waits with ECANCELED; what was already appended to the log still
// happens.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"
#include "changelog/record/record.h"
#include "core-volume/layer/file_attr.h"

namespace polder {

struct LeaseAsk;

/// Who asks, and how a retry is recognised. Made by the top layer, passed down unchanged.
struct OpContext {
  std::uint32_t session = 0;  // volume-wide number of the client's session; 0: inside the brick, no retry
  std::uint64_t sequence =
      0;      // rising within the session; of every operation that must not happen twice, else 0
  Hlc hlc{};  // highest stamp the client had seen when it asked
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t pid = 0;
  bool retry = false;  // this sequence was sent before: the brick looks it up in its retry table first
  LeaseAsk* leases = nullptr;  // wanted by a client's cache (layer/leases.h)
};

class FileOps {
 public:
  virtual ~FileOps() = default;

  // Looking. lookup: ENOENT, ENOTDIR. readlink: EINVAL on anything but a symlink.
  virtual Task<Result<FileAttr>> lookup(const OpContext& ctx, Gfid parent, std::string_view name) = 0;
  virtual Task<Result<FileAttr>> getattr(const OpContext& ctx, Gfid gfid) = 0;
  virtual Task<Result<std::string>> readlink(const OpContext& ctx, Gfid gfid) = 0;
  /// Entries after `cookie` (0: from the start) in cookie order, about `max_entries` of them. Each entry that
  /// exists during the whole listing is returned exactly once.
  virtual Task<Result<DirectoryPage>> readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                              std::uint32_t max_entries, bool with_attributes) = 0;
  virtual Task<Result<VolumeSpace>> statfs(const OpContext& ctx) = 0;

  // Making. EEXIST, ENOENT (parent gone), ENOSPC.
  virtual Task<Result<FileAttr>> mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                       const NewObject& object) = 0;
  virtual Task<Result<FileAttr>> mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                       const NewObject& object) = 0;
  virtual Task<Result<FileAttr>> symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                         std::string_view target) = 0;
  /// open(O_CREAT): creates, or opens what is there unless `flags` has O_EXCL. O_TRUNC is honoured.
  virtual Task<Result<Opened>> create(const OpContext& ctx, Gfid parent, std::string_view name,
                                      const NewObject& object, int flags) = 0;
  /// EPERM for directories, EMLINK past the brick's limit.
  virtual Task<Result<FileAttr>> link(const OpContext& ctx, Gfid gfid, Gfid parent,
                                      std::string_view name) = 0;

  // Names. rename `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE; EINVAL into its own subtree, ENOTEMPTY, EISDIR,
  // ENOTDIR.
  virtual Task<Result<void>> unlink(const OpContext& ctx, Gfid parent, std::string_view name) = 0;
  virtual Task<Result<void>> rmdir(const OpContext& ctx, Gfid parent, std::string_view name) = 0;
  virtual Task<Result<void>> rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                    Gfid to_parent, std::string_view to_name, unsigned flags) = 0;

  // Attributes. setattr of size is truncation (EISDIR, EINVAL on other types). xattr names include their name
  // space; trusted.polder.* does not exist for callers: ENODATA on reading, EPERM on writing.
  virtual Task<Result<FileAttr>> setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) = 0;
  virtual Task<Result<std::string>> getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) = 0;
  virtual Task<Result<std::vector<std::string>>> listxattr(const OpContext& ctx, Gfid gfid) = 0;
  /// `flags`: XATTR_CREATE, XATTR_REPLACE. ACLs (system.posix_acl_*) go this way too and change the mode with
  /// them.
  virtual Task<Result<void>> setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                      std::string_view value, int flags) = 0;
  virtual Task<Result<void>> removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) = 0;

  // Open files. An unlinked object lives until its last handle is released. Session 0 (inside the brick's
  // process) may read and write by gfid with handle 0. open honours O_TRUNC. release cannot fail.
  virtual Task<Result<Opened>> open(const OpContext& ctx, Gfid gfid, int flags) = 0;
  virtual Task<Result<void>> release(const OpContext& ctx, Gfid gfid, HandleId handle) = 0;
  /// Fewer bytes than asked only at the end of the file.
  virtual Task<Result<Buffer>> read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                    std::uint32_t length) = 0;
  /// All or nothing. With `append` the brick places the bytes at the end; appends of several clients never
  /// overlap.
  virtual Task<Result<WriteResult>> write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                          std::uint64_t offset, Buffer data, bool append) = 0;
  /// After it returned, the object's data, its names and everything this session did before it survive a
  /// power loss.
  virtual Task<Result<void>> fsync(const OpContext& ctx, Gfid gfid, bool data_only) = 0;
  /// `mode` as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]. EOPNOTSUPP for
  /// others.
  virtual Task<Result<void>> fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                       std::uint64_t length) = 0;
  /// SEEK_DATA, SEEK_HOLE; ENXIO past the end.
  virtual Task<Result<std::uint64_t>> seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                           int whence) = 0;
  /// Returns the bytes copied; shares extents where the brick can.
  virtual Task<Result<std::uint64_t>> copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset,
                                                 Gfid to, std::uint64_t to_offset, std::uint64_t length) = 0;

  // Locks. test_lock: the lock in the way, or type kUnlock. set_lock: EAGAIN when taken and not `wait`.
  virtual Task<Result<FileLock>> test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) = 0;
  virtual Task<Result<void>> set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) = 0;

  /// The session of `ctx` is over (its client left, or stayed away too long): its handles and locks go.
  virtual Task<Result<void>> end_session(const OpContext& ctx) = 0;

  /// Everything acknowledged before the call survives a power loss.
  virtual Task<Result<void>> sync(const OpContext& ctx) = 0;
  /// Applies records that another volume decided (geo-replication, heal): gfids, times and owners are taken
  /// from the records; kApplied among them becomes durable with the rest. At least once, same result. Records
  /// of one call are applied in order.
  virtual Task<Result<void>> replay(const OpContext& ctx, std::span<const Record> records) = 0;
};

}  // namespace polder
