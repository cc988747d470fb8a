// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/snapshot_view/read_only_layer.h"

#include <fcntl.h>

#include "base/names.h"
#include "base/on_worker.h"
#include "core-volume/layer/posix_rules.h"

namespace polder {
namespace {

constexpr HandleId kHandle = 1;  // of every open file: there is nothing to remember

Error refused() {
  return Error(EROFS).with("a snapshot cannot be changed");
}

}  // namespace

// --- looking

Task<Result<FileAttr>> ReadOnlyLayer::lookup(const OpContext&, Gfid parent, std::string_view name) {
  CO_TRY(check_name(name));
  std::string entry(name);
  co_return co_await on_worker(workers_, [&] { return store_.lookup(parent, entry); });
}

Task<Result<FileAttr>> ReadOnlyLayer::getattr(const OpContext&, Gfid gfid) {
  co_return co_await on_worker(workers_, [&] { return store_.attr(gfid); });
}

Task<Result<std::string>> ReadOnlyLayer::readlink(const OpContext&, Gfid gfid) {
  co_return co_await on_worker(workers_, [&] { return store_.readlink(gfid); });
}

Task<Result<DirectoryPage>> ReadOnlyLayer::readdir(const OpContext&, Gfid gfid, std::uint64_t cookie,
                                                   std::uint32_t max_entries, bool with_attributes) {
  co_return co_await on_worker(workers_,
                               [&] { return store_.list(gfid, cookie, max_entries, with_attributes); });
}

Task<Result<VolumeSpace>> ReadOnlyLayer::statfs(const OpContext&) {
  co_return co_await on_worker(workers_, [&] { return store_.statfs(); });
}

Task<Result<std::string>> ReadOnlyLayer::getxattr(const OpContext&, Gfid gfid, std::string_view key) {
  co_return co_await on_worker(workers_, [&]() -> Result<std::string> {
    TRY(store_.attr(gfid));
    TRY(check_xattr_key(key));
    return store_.get_xattr(gfid, std::string(key));
  });
}

Task<Result<std::vector<std::string>>> ReadOnlyLayer::listxattr(const OpContext&, Gfid gfid) {
  co_return co_await on_worker(workers_, [&] { return store_.list_xattr(gfid); });
}

Task<Result<Opened>> ReadOnlyLayer::open(const OpContext&, Gfid gfid, int flags) {
  CO_TRY(auto attr, co_await on_worker(workers_, [&]() -> Result<FileAttr> {
           TRY(auto found, store_.attr(gfid));
           TRY(check_open(found, flags));
           return found;
         }));
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) co_return refused();
  co_return Opened{.attr = attr, .handle = kHandle, .created = false};
}

Task<Result<Opened>> ReadOnlyLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                           const NewObject&, int flags) {
  auto there = co_await lookup(ctx, parent, name);
  if (there.failed_with(ENOENT)) co_return refused();
  if (!there) co_return std::move(there).error();
  if (flags & O_EXCL) co_return Error(EEXIST);
  co_return co_await open(ctx, there->gfid, flags);
}

Task<Result<void>> ReadOnlyLayer::release(const OpContext&, Gfid, HandleId) {
  co_return Result<void>();
}

Task<Result<Buffer>> ReadOnlyLayer::read(const OpContext& ctx, Gfid gfid, HandleId handle,
                                         std::uint64_t offset, std::uint32_t length) {
  const bool inside = ctx.session == 0 && handle == 0;
  co_return co_await on_worker(workers_, [&]() -> Result<Buffer> {
    TRY(auto attr, store_.attr(gfid));
    TRY(check_data_object(attr));
    if (!inside && handle != kHandle) return Error(EBADF);
    return store_.read(gfid, offset, length);
  });
}

Task<Result<std::uint64_t>> ReadOnlyLayer::seek(const OpContext&, Gfid gfid, std::uint64_t offset,
                                                int whence) {
  co_return co_await on_worker(workers_, [&] { return store_.seek(gfid, offset, whence); });
}

Task<Result<void>> ReadOnlyLayer::fsync(const OpContext&, Gfid, bool) {
  co_return Result<void>();
}

Task<Result<void>> ReadOnlyLayer::sync(const OpContext&) {
  co_return Result<void>();
}

Task<Result<void>> ReadOnlyLayer::end_session(const OpContext&) {
  co_return Result<void>();
}

Task<Result<FileLock>> ReadOnlyLayer::test_lock(const OpContext&, Gfid, const FileLock&) {
  co_return Error(ENOSYS).with("locks need a locks layer above");
}

Task<Result<void>> ReadOnlyLayer::set_lock(const OpContext&, Gfid, const FileLock&, bool) {
  co_return Error(ENOSYS).with("locks need a locks layer above");
}

// --- changes: none

Task<Result<FileAttr>> ReadOnlyLayer::mknod(const OpContext&, Gfid, std::string_view, const NewObject&) {
  co_return refused();
}
Task<Result<FileAttr>> ReadOnlyLayer::mkdir(const OpContext&, Gfid, std::string_view, const NewObject&) {
  co_return refused();
}
Task<Result<FileAttr>> ReadOnlyLayer::symlink(const OpContext&, Gfid, std::string_view, std::string_view) {
  co_return refused();
}
Task<Result<FileAttr>> ReadOnlyLayer::link(const OpContext&, Gfid, Gfid, std::string_view) {
  co_return refused();
}
Task<Result<void>> ReadOnlyLayer::unlink(const OpContext&, Gfid, std::string_view) {
  co_return refused();
}
Task<Result<void>> ReadOnlyLayer::rmdir(const OpContext&, Gfid, std::string_view) {
  co_return refused();
}
Task<Result<void>> ReadOnlyLayer::rename(const OpContext&, Gfid, std::string_view, Gfid, std::string_view,
                                         unsigned) {
  co_return refused();
}
Task<Result<FileAttr>> ReadOnlyLayer::setattr(const OpContext&, Gfid, const SetAttr&) {
  co_return refused();
}
Task<Result<void>> ReadOnlyLayer::setxattr(const OpContext&, Gfid, std::string_view, std::string_view, int) {
  co_return refused();
}
Task<Result<void>> ReadOnlyLayer::removexattr(const OpContext&, Gfid, std::string_view) {
  co_return refused();
}
Task<Result<WriteResult>> ReadOnlyLayer::write(const OpContext&, Gfid, HandleId, std::uint64_t, Buffer,
                                               bool) {
  co_return refused();
}
Task<Result<void>> ReadOnlyLayer::fallocate(const OpContext&, Gfid, int, std::uint64_t, std::uint64_t) {
  co_return refused();
}
Task<Result<std::uint64_t>> ReadOnlyLayer::copy_range(const OpContext&, Gfid, std::uint64_t, Gfid,
                                                      std::uint64_t, std::uint64_t) {
  co_return refused();
}
Task<Result<void>> ReadOnlyLayer::replay(const OpContext&, std::span<const Record>) {
  co_return refused();
}

}  // namespace polder
