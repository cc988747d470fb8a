// SPDX-License-Identifier: GPL-3.0-or-later
// Bridge: one coroutine for each operation of the kernel, which asks the volume and answers. Knows nothing
// of the session's file descriptor: fuse_server.cc receives, dispatch.cc calls these. Loop thread only.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "core-volume/client/fuse/invalidator.h"
#include "core-volume/client/fuse/request.h"
#include "core-volume/layer/invalidation.h"

namespace polder {

struct FuseOptions;

constexpr std::string_view kCapability = "security.capability";

class Bridge {
 public:
  /// `invalidator` is set by the server before the first request. Everything given outlives the bridge.
  Bridge(FileOps& volume, Clock& clock, const FuseOptions& options);

  // Names (ops_names.cc).
  Task<void> lookup(Request request, NodeId parent, std::string name);
  Task<void> mknod(Request request, NodeId parent, std::string name, NewObject object);
  Task<void> mkdir(Request request, NodeId parent, std::string name, NewObject object);
  Task<void> symlink(Request request, NodeId parent, std::string name, std::string target);
  Task<void> link(Request request, NodeId node, NodeId parent, std::string name);
  Task<void> unlink(Request request, NodeId parent, std::string name);
  Task<void> rmdir(Request request, NodeId parent, std::string name);
  Task<void> rename(Request request, NodeId from, std::string from_name, NodeId to, std::string to_name,
                    unsigned flags);
  void forget(NodeId node, std::uint64_t lookups) { inodes_.forget(node, lookups); }
  void forgot();  // after a message of them

  // Attributes (ops_attributes.cc).
  Task<void> getattr(Request request, NodeId node);
  /// `set_ids`, here and below: whoever asks takes set-user-id and set-group-id bits away (privileges.cc).
  Task<void> setattr(Request request, NodeId node, SetAttr change, bool set_ids);
  Task<void> readlink(Request request, NodeId node);
  Task<void> getxattr(Request request, NodeId node, std::string key, std::size_t asked_bytes);
  Task<void> listxattr(Request request, NodeId node, std::size_t asked_bytes);
  Task<void> setxattr(Request request, NodeId node, std::string key, std::string value, int flags);
  Task<void> removexattr(Request request, NodeId node, std::string key);
  Task<void> statfs(Request request);

  // Directories (ops_directories.cc).
  Task<void> readdir(Request request, NodeId node, std::size_t size_bytes, std::uint64_t offset,
                     bool with_attributes);

  // Files (ops_files.cc).
  Task<void> create(Request request, NodeId parent, std::string name, NewObject object, int flags,
                    bool set_ids);
  Task<void> open(Request request, NodeId node, int flags, bool set_ids);
  Task<void> release(Request request, NodeId node, fuse_file_info file);
  Task<void> read(Request request, NodeId node, std::uint64_t file, std::uint64_t offset,
                  std::uint32_t length);
  Task<void> write(Request request, NodeId node, std::uint64_t file, std::uint64_t offset, Buffer data,
                   bool append, bool set_ids);
  Task<void> fsync(Request request, NodeId node, bool data_only);
  Task<void> fallocate(Request request, NodeId node, int mode, std::uint64_t offset, std::uint64_t length);
  Task<void> seek(Request request, NodeId node, std::uint64_t offset, int whence);
  Task<void> copy_range(Request request, NodeId from, std::uint64_t from_offset, NodeId to,
                        std::uint64_t to_offset, std::uint64_t length);

  // Locks (ops_locks.cc).
  Task<void> test_lock(Request request, NodeId node, FileLock lock);
  Task<void> set_lock(Request request, NodeId node, std::uint64_t file, FileLock lock, bool wait);
  Task<void> flush(Request request, NodeId node, std::uint64_t lock_owner);

  // What needs neither the volume nor a coroutine. False: not answered, ask the coroutine above.
  bool getattr_now(Request& request, NodeId node) { return answer_directory(request, node); }
  bool getxattr_now(Request& request, NodeId node, std::string_view key);
  bool listxattr_now(Request& request, NodeId node, std::size_t asked_bytes);
  bool flush_now(Request& request, NodeId node, std::uint64_t lock_owner);

  /// An object changed, or a name, by another client's doing.
  void invalidate(const Invalidation& change);
  /// What a directory became by a change of ours whose answer is about to come (directories.cc).
  void learn_directory(const FileAttr& attr);
  /// Gives every handle back to the volume: the mount ends while files are open.
  Task<void> release_all();

  InodeTable& inodes() { return inodes_; }
  std::size_t open_files() const { return files_.size(); }
  std::unique_ptr<Invalidator> invalidator;
  /// Starts what must be done though nobody waits for it any more. Set by the server, too.
  std::function<void(Task<void>)> background;
  /// The kernel leaves it to us to take privileges away from files that change. Set by the server, too.
  bool takes_privileges = false;

 private:
  struct OpenFile {
    Gfid gfid;
    HandleId handle = 0;
    bool direct = false;                     // the kernel does not cache what goes through this handle
    std::vector<std::uint64_t> lock_owners;  // of POSIX locks that were taken through it
  };
  struct Directory {
    FileAttr attr;
    std::chrono::nanoseconds until{0};  // boot time
  };
  using Lookup = Task<Result<FileAttr>>;

  /// The object's gfid, or an ESTALE answer and nil.
  Gfid gfid_or_stale(Request& request, NodeId node);
  Task<void> answer_entry(Request request, NodeId parent, std::string_view name, Lookup looking);
  fuse_entry_param remember(NodeId parent, std::string_view name, const FileAttr& attr);
  void answer_attributes(Request& request, NodeId node, const FileAttr& attr);
  void told_attributes(Inode& inode, const FileAttr& attr);
  void changed_here(NodeId node);
  void xattrs_change(NodeId node);
  bool answer_directory(Request& request, NodeId node);
  void names_change(NodeId directory) { directories_.erase(directory); }
  fuse_file_info remember_file(Inode& inode, const Opened& opened, int flags);
  Task<void> forget_file(const OpContext& context, NodeId node, std::uint64_t file);
  Task<bool> opened_usable(const OpContext& context, NodeId node, const Opened& opened, int flags);
  Task<void> unlock(const OpContext& context, NodeId node, Gfid gfid, FileLock::Kind kind,
                    std::uint64_t owner);
  bool take_lock_owner(NodeId node, std::uint64_t owner);
  struct Unlocking;
  Task<void> unlock_and_tell(OpContext context, NodeId node, Gfid gfid, std::uint64_t owner,
                             std::shared_ptr<Unlocking> unlocking);
  void no_capability(NodeId node, std::chrono::nanoseconds asked_at);

  // privileges.cc
  bool may_have_capability(const Inode& inode) const;
  /// Whether drop_privileges() has something to do.
  bool may_have_privileges(NodeId node, bool set_ids);
  Task<Result<void>> drop_privileges(const OpContext& context, NodeId node, Gfid gfid, bool set_ids);
  Task<Result<void>> drop_capability(const OpContext& context, NodeId node, Gfid gfid);
  Task<Result<void>> take_privileges(const Request& request, NodeId node, Gfid gfid, SetAttr& change,
                                     bool set_ids);
  Task<void> drop_privileges_of_opened(const OpContext& context, NodeId node, Opened& opened, bool set_ids);
  Task<void> drop_set_group_id(const Request& request, Gfid gfid);

  FileOps& volume_;
  Clock& clock_;
  const FuseOptions& options_;
  InodeTable inodes_;
  std::size_t known_before_ = 0;  // objects, at the most since forgot() did something
  std::unordered_map<std::uint64_t, OpenFile> files_;
  std::uint64_t next_file_ = 1;
  std::unordered_map<NodeId, Directory> directories_;
  // Who may hold POSIX locks on what: their next close of the file must release them.
  std::unordered_map<NodeId, std::unordered_set<std::uint64_t>> lock_owners_;
};

}  // namespace polder
