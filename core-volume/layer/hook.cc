// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/hook.h"

#include <fcntl.h>

#include "base/coro.h"

namespace polder {

Task<Result<void>> Hook::before(const OpCall&) {
  co_return Result<void>();
}
Task<Result<void>> Hook::after(const OpCall&, const Error*) {
  co_return Result<void>();
}
void Hook::left(const OpCall&) noexcept {}

namespace {

// Keeps the hook alive: a task may be destroyed after its layer, when a whole loop is torn down.
struct Departure {
  std::shared_ptr<Hook> hook;
  const OpCall& call;
  ~Departure() { hook->left(call); }
};

}  // namespace

template <typename T>
Task<Result<T>> HookLayer::around(OpCall call, Task<Result<T>> operation) {
  std::shared_ptr<Hook> hook = hook_;
  CO_TRY(co_await hook->before(call));
  Departure departure{hook, call};
  Result<T> result = co_await std::move(operation);
  CO_TRY(co_await hook->after(call, result ? nullptr : &result.error()));
  co_return std::move(result);
}

Task<Result<FileAttr>> HookLayer::lookup(const OpContext& ctx, Gfid parent, std::string_view name) {
  return around({OpKind::kLookup, ctx, parent, name}, below_.lookup(ctx, parent, name));
}

Task<Result<FileAttr>> HookLayer::getattr(const OpContext& ctx, Gfid gfid) {
  return around({OpKind::kGetattr, ctx, gfid, {}}, below_.getattr(ctx, gfid));
}

Task<Result<std::string>> HookLayer::readlink(const OpContext& ctx, Gfid gfid) {
  return around({OpKind::kReadlink, ctx, gfid, {}}, below_.readlink(ctx, gfid));
}

Task<Result<DirectoryPage>> HookLayer::readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                               std::uint32_t max_entries, bool with_attributes) {
  return around({OpKind::kReaddir, ctx, gfid, {}},
                below_.readdir(ctx, gfid, cookie, max_entries, with_attributes));
}

Task<Result<VolumeSpace>> HookLayer::statfs(const OpContext& ctx) {
  return around({OpKind::kStatfs, ctx, Gfid{}, {}}, below_.statfs(ctx));
}

Task<Result<FileAttr>> HookLayer::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                        const NewObject& object) {
  return around({OpKind::kMknod, ctx, parent, name}, below_.mknod(ctx, parent, name, object));
}

Task<Result<FileAttr>> HookLayer::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                        const NewObject& object) {
  return around({OpKind::kMkdir, ctx, parent, name}, below_.mkdir(ctx, parent, name, object));
}

Task<Result<FileAttr>> HookLayer::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                          std::string_view target) {
  return around({OpKind::kSymlink, ctx, parent, name}, below_.symlink(ctx, parent, name, target));
}

Task<Result<Opened>> HookLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                       const NewObject& object, int flags) {
  return around({OpKind::kCreate, ctx, parent, name}, below_.create(ctx, parent, name, object, flags));
}

Task<Result<FileAttr>> HookLayer::link(const OpContext& ctx, Gfid gfid, Gfid parent, std::string_view name) {
  return around({OpKind::kLink, ctx, gfid, name}, below_.link(ctx, gfid, parent, name));
}

Task<Result<void>> HookLayer::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  return around({OpKind::kUnlink, ctx, parent, name}, below_.unlink(ctx, parent, name));
}

Task<Result<void>> HookLayer::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  return around({OpKind::kRmdir, ctx, parent, name}, below_.rmdir(ctx, parent, name));
}

Task<Result<void>> HookLayer::rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                     Gfid to_parent, std::string_view to_name, unsigned flags) {
  return around({OpKind::kRename, ctx, from_parent, from_name},
                below_.rename(ctx, from_parent, from_name, to_parent, to_name, flags));
}

Task<Result<FileAttr>> HookLayer::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  return around({OpKind::kSetattr, ctx, gfid, {}}, below_.setattr(ctx, gfid, change));
}

Task<Result<std::string>> HookLayer::getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  return around({OpKind::kGetxattr, ctx, gfid, key}, below_.getxattr(ctx, gfid, key));
}

Task<Result<std::vector<std::string>>> HookLayer::listxattr(const OpContext& ctx, Gfid gfid) {
  return around({OpKind::kListxattr, ctx, gfid, {}}, below_.listxattr(ctx, gfid));
}

Task<Result<void>> HookLayer::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                       std::string_view value, int flags) {
  return around({OpKind::kSetxattr, ctx, gfid, key}, below_.setxattr(ctx, gfid, key, value, flags));
}

Task<Result<void>> HookLayer::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  return around({OpKind::kRemovexattr, ctx, gfid, key}, below_.removexattr(ctx, gfid, key));
}

Task<Result<Opened>> HookLayer::open(const OpContext& ctx, Gfid gfid, int flags) {
  return around({OpKind::kOpen, ctx, gfid, {}, (flags & O_TRUNC) != 0}, below_.open(ctx, gfid, flags));
}

Task<Result<void>> HookLayer::release(const OpContext& ctx, Gfid gfid, HandleId handle) {
  return around({OpKind::kRelease, ctx, gfid, {}}, below_.release(ctx, gfid, handle));
}

Task<Result<Buffer>> HookLayer::read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                     std::uint32_t length) {
  return around({OpKind::kRead, ctx, gfid, {}}, below_.read(ctx, gfid, handle, offset, length));
}

Task<Result<WriteResult>> HookLayer::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                           std::uint64_t offset, Buffer data, bool append) {
  return around({OpKind::kWrite, ctx, gfid, {}},
                below_.write(ctx, gfid, handle, offset, std::move(data), append));
}

Task<Result<void>> HookLayer::fsync(const OpContext& ctx, Gfid gfid, bool data_only) {
  return around({OpKind::kFsync, ctx, gfid, {}}, below_.fsync(ctx, gfid, data_only));
}

Task<Result<void>> HookLayer::fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                        std::uint64_t length) {
  return around({OpKind::kFallocate, ctx, gfid, {}}, below_.fallocate(ctx, gfid, mode, offset, length));
}

Task<Result<std::uint64_t>> HookLayer::seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                            int whence) {
  return around({OpKind::kSeek, ctx, gfid, {}}, below_.seek(ctx, gfid, offset, whence));
}

Task<Result<std::uint64_t>> HookLayer::copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset,
                                                  Gfid to, std::uint64_t to_offset, std::uint64_t length) {
  return around({OpKind::kCopyRange, ctx, from, {}},
                below_.copy_range(ctx, from, from_offset, to, to_offset, length));
}

Task<Result<FileLock>> HookLayer::test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) {
  return around({OpKind::kTestLock, ctx, gfid, {}}, below_.test_lock(ctx, gfid, lock));
}

Task<Result<void>> HookLayer::set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) {
  return around({OpKind::kSetLock, ctx, gfid, {}}, below_.set_lock(ctx, gfid, lock, wait));
}

Task<Result<void>> HookLayer::end_session(const OpContext& ctx) {
  return around({OpKind::kEndSession, ctx, Gfid{}, {}}, below_.end_session(ctx));
}

Task<Result<void>> HookLayer::sync(const OpContext& ctx) {
  return around({OpKind::kSync, ctx, Gfid{}, {}}, below_.sync(ctx));
}

Task<Result<void>> HookLayer::replay(const OpContext& ctx, std::span<const Record> records) {
  return around({OpKind::kReplay, ctx, Gfid{}, {}}, below_.replay(ctx, records));
}

}  // namespace polder
