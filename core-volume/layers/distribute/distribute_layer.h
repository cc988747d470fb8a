// SPDX-License-Identifier: GPL-3.0-or-later
// DistributeLayer: many sets as one volume. An operation goes to the set that has its object, or the
// directory of its name: gfid → slot → set, without asking anyone. Where an entry shows an object of another
// set (a subdirectory, a file that was moved), the attributes come from there.
//
// Changes of several sets are not its business: the set of the (target) name leads them (set_peer.h).
// A set whose brick does not run: EIO with the reason. statfs, sync and end_session ask all that run.
// Files of different sets: copy_range is EXDEV, and the client copies by reading and writing.
//
// Loop thread only.
#pragma once
#include <map>
#include <string>

#include "core-volume/layer/file_ops.h"
#include "core-volume/layer/invalidation.h"
#include "core-volume/layer/placement.h"

namespace polder {

class DistributeLayer final : public FileOps, public InvalidationSource {
 public:
  /// `placement` and every child outlive the layer, or are taken away before they end.
  explicit DistributeLayer(const Placement& placement) : placement_(placement) {}

  void set_child(std::uint32_t set, FileOps& ops, InvalidationSource& invalidations);
  /// Nothing of it may be under way. `why` it does not run.
  void clear_child(std::uint32_t set, std::string why);

  void on_invalidation(std::function<void(const Invalidation&)> listener) override;

  Task<Result<FileAttr>> lookup(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<FileAttr>> getattr(const OpContext& ctx, Gfid gfid) override;
  Task<Result<std::string>> readlink(const OpContext& ctx, Gfid gfid) override;
  Task<Result<DirectoryPage>> readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                      std::uint32_t max_entries, bool with_attributes) override;
  Task<Result<VolumeSpace>> statfs(const OpContext& ctx) override;
  Task<Result<FileAttr>> mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                               const NewObject& object) override;
  Task<Result<FileAttr>> mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                               const NewObject& object) override;
  Task<Result<FileAttr>> symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                 std::string_view target) override;
  Task<Result<Opened>> create(const OpContext& ctx, Gfid parent, std::string_view name,
                              const NewObject& object, int flags) override;
  Task<Result<FileAttr>> link(const OpContext& ctx, Gfid gfid, Gfid parent, std::string_view name) override;
  Task<Result<void>> unlink(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<void>> rmdir(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<void>> rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                            Gfid to_parent, std::string_view to_name, unsigned flags) override;
  Task<Result<FileAttr>> setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) override;
  Task<Result<std::string>> getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) override;
  Task<Result<std::vector<std::string>>> listxattr(const OpContext& ctx, Gfid gfid) override;
  Task<Result<void>> setxattr(const OpContext& ctx, Gfid gfid, std::string_view key, std::string_view value,
                              int flags) override;
  Task<Result<void>> removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) override;
  Task<Result<Opened>> open(const OpContext& ctx, Gfid gfid, int flags) override;
  Task<Result<void>> release(const OpContext& ctx, Gfid gfid, HandleId handle) override;
  Task<Result<Buffer>> read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                            std::uint32_t length) override;
  Task<Result<WriteResult>> write(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                  Buffer data, bool append) override;
  Task<Result<void>> fsync(const OpContext& ctx, Gfid gfid, bool data_only) override;
  Task<Result<void>> fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                               std::uint64_t length) override;
  Task<Result<std::uint64_t>> seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                   int whence) override;
  Task<Result<std::uint64_t>> copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset, Gfid to,
                                         std::uint64_t to_offset, std::uint64_t length) override;
  Task<Result<FileLock>> test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) override;
  Task<Result<void>> set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) override;
  Task<Result<void>> end_session(const OpContext& ctx) override;
  Task<Result<void>> sync(const OpContext& ctx) override;
  Task<Result<void>> replay(const OpContext& ctx, std::span<const Record> records) override;

 private:
  struct Child {
    FileOps* ops = nullptr;
    std::string why;  // it has none
  };
  Result<FileOps*> child(const Gfid& gfid) const;
  std::vector<FileOps*> children() const;
  /// Attributes of what an entry showed, from its own set. ESTALE when it went meanwhile.
  Task<Result<FileAttr>> complete(const OpContext& ctx, FileAttr attr);
  /// Of what has just been made: an error does not say that it was not.
  Task<Result<FileAttr>> complete_change(const OpContext& ctx, FileAttr attr);

  const Placement& placement_;
  std::map<std::uint32_t, Child> children_;
  std::function<void(const Invalidation&)> listener_;
};

}  // namespace polder
