// SPDX-License-Identifier: GPL-3.0-or-later
// PassThroughLayer: hands every operation to the layer below, at the cost of one virtual call. A layer that
// minds a few operations derives from it and overrides those.
#pragma once
#include "core-volume/layer/file_ops.h"

namespace polder {

class PassThroughLayer : public FileOps {
 public:
  /// `below` outlives the layer.
  explicit PassThroughLayer(FileOps& below) : below_(&below) {}

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

 protected:
  /// For layers that get one later; `below_` is set before the first operation.
  PassThroughLayer() = default;

  FileOps* below_ = nullptr;
};

}  // namespace polder
