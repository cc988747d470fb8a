// SPDX-License-Identifier: GPL-3.0-or-later
// MemoryLayer: a whole volume in memory, with the exact semantics of FileOps. The model that other layers and
// the brick are compared with, and the bottom of test stacks. Every change is built as an absolute Record and
// applied to a MemoryTree, as on a brick. Locks are not its business: ENOSYS (the locks layer).
#pragma once
#include <deque>
#include <map>
#include <memory>

#include "base/hlc.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layer/posix_rules.h"
#include "core-volume/layers/memory/memory_tree.h"

namespace polder {

class Random;

class MemoryLayer : public FileOps {
 public:
  struct Options {
    std::uint64_t capacity_bytes = 1ull << 50;  // what statfs reports; not enforced
    bool keep_records = false;                  // for tests of replay: see records()
  };

  /// `hlc` and `random` outlive the layer.
  MemoryLayer(HlcClock& hlc, Random& random, Options options);
  MemoryLayer(HlcClock& hlc, Random& random);

  /// Every record applied since the start, replayed ones included, with the data of writes; when kept.
  const std::vector<Record>& records() const { return records_; }

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
  struct OpenFile {
    Gfid gfid;
    std::uint32_t session;
  };
  /// What a retry of a change must know to give the first answer again.
  struct Done {
    Gfid gfid;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool created = false;
  };
  struct Place {
    MemoryObject* parent;
    const Gfid* there;  // null: the name is free
  };

  static constexpr std::size_t kRetriesKept = 4096;  // of all sessions; the oldest go first

  Result<MemoryObject*> object(Gfid gfid);
  Result<MemoryObject*> directory(Gfid gfid);
  /// `name` in `parent`, for looking (ESTALE, ENOTDIR) or for making (also ENOENT: the parent was removed).
  Result<Place> place(Gfid parent, std::string_view name);
  Result<Place> place_for_new(Gfid parent, std::string_view name);
  Result<FileAttr> attr(Gfid gfid);
  Result<void> check_handle(const OpContext& ctx, Gfid gfid, HandleId handle) const;

  const Done* done_before(const OpContext& ctx) const;
  void remember(const OpContext& ctx, const Done& done);
  /// The stamp of a change that is about to be made, in a record of `kind` for `gfid`.
  Record begin(const OpContext& ctx, RecordKind kind, Gfid gfid);
  void commit(const OpContext& ctx, Record record, const Done& done);
  Result<Opened> open_object(const OpContext& ctx, Gfid gfid, int flags);
  Result<FileAttr> make_object(const OpContext& ctx, Gfid parent, std::string_view name, NewObject wanted,
                               Result<std::uint32_t> mode);
  Result<FileAttr> make(const OpContext& ctx, Gfid parent, std::string_view name, ObjectState state);
  ParentFacts facts_of(const MemoryObject& parent) const;
  void close(std::map<HandleId, OpenFile>::iterator handle);

  HlcClock& hlc_;
  Random& random_;
  const Options options_;
  MemoryTree tree_;
  std::map<HandleId, OpenFile> handles_;
  HandleId last_handle_ = 0;
  std::map<std::pair<std::uint32_t, std::uint64_t>, Done> done_;
  std::deque<std::pair<std::uint32_t, std::uint64_t>> done_order_;
  std::vector<Record> records_;
};

}  // namespace polder
