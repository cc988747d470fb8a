// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/pass_through.h"

#include "base/coro.h"

namespace polder {

Task<Result<FileAttr>> PassThroughLayer::lookup(const OpContext& ctx, Gfid parent, std::string_view name) {
  return below_->lookup(ctx, parent, name);
}

Task<Result<FileAttr>> PassThroughLayer::getattr(const OpContext& ctx, Gfid gfid) {
  return below_->getattr(ctx, gfid);
}

Task<Result<std::string>> PassThroughLayer::readlink(const OpContext& ctx, Gfid gfid) {
  return below_->readlink(ctx, gfid);
}

Task<Result<DirectoryPage>> PassThroughLayer::readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                                      std::uint32_t max_entries, bool with_attributes) {
  return below_->readdir(ctx, gfid, cookie, max_entries, with_attributes);
}

Task<Result<VolumeSpace>> PassThroughLayer::statfs(const OpContext& ctx) {
  return below_->statfs(ctx);
}

Task<Result<FileAttr>> PassThroughLayer::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                               const NewObject& object) {
  return below_->mknod(ctx, parent, name, object);
}

Task<Result<FileAttr>> PassThroughLayer::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                               const NewObject& object) {
  return below_->mkdir(ctx, parent, name, object);
}

Task<Result<FileAttr>> PassThroughLayer::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                                 std::string_view target) {
  return below_->symlink(ctx, parent, name, target);
}

Task<Result<Opened>> PassThroughLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                              const NewObject& object, int flags) {
  return below_->create(ctx, parent, name, object, flags);
}

Task<Result<FileAttr>> PassThroughLayer::link(const OpContext& ctx, Gfid gfid, Gfid parent,
                                              std::string_view name) {
  return below_->link(ctx, gfid, parent, name);
}

Task<Result<void>> PassThroughLayer::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  return below_->unlink(ctx, parent, name);
}

Task<Result<void>> PassThroughLayer::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  return below_->rmdir(ctx, parent, name);
}

Task<Result<void>> PassThroughLayer::rename(const OpContext& ctx, Gfid from_parent,
                                            std::string_view from_name, Gfid to_parent,
                                            std::string_view to_name, unsigned flags) {
  return below_->rename(ctx, from_parent, from_name, to_parent, to_name, flags);
}

Task<Result<FileAttr>> PassThroughLayer::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  return below_->setattr(ctx, gfid, change);
}

Task<Result<std::string>> PassThroughLayer::getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  return below_->getxattr(ctx, gfid, key);
}

Task<Result<std::vector<std::string>>> PassThroughLayer::listxattr(const OpContext& ctx, Gfid gfid) {
  return below_->listxattr(ctx, gfid);
}

Task<Result<void>> PassThroughLayer::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                              std::string_view value, int flags) {
  return below_->setxattr(ctx, gfid, key, value, flags);
}

Task<Result<void>> PassThroughLayer::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  return below_->removexattr(ctx, gfid, key);
}

Task<Result<Opened>> PassThroughLayer::open(const OpContext& ctx, Gfid gfid, int flags) {
  return below_->open(ctx, gfid, flags);
}

Task<Result<void>> PassThroughLayer::release(const OpContext& ctx, Gfid gfid, HandleId handle) {
  return below_->release(ctx, gfid, handle);
}

Task<Result<Buffer>> PassThroughLayer::read(const OpContext& ctx, Gfid gfid, HandleId handle,
                                            std::uint64_t offset, std::uint32_t length) {
  return below_->read(ctx, gfid, handle, offset, length);
}

Task<Result<WriteResult>> PassThroughLayer::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                                  std::uint64_t offset, Buffer data, bool append) {
  return below_->write(ctx, gfid, handle, offset, std::move(data), append);
}

Task<Result<void>> PassThroughLayer::fsync(const OpContext& ctx, Gfid gfid, bool data_only) {
  return below_->fsync(ctx, gfid, data_only);
}

Task<Result<void>> PassThroughLayer::fallocate(const OpContext& ctx, Gfid gfid, int mode,
                                               std::uint64_t offset, std::uint64_t length) {
  return below_->fallocate(ctx, gfid, mode, offset, length);
}

Task<Result<std::uint64_t>> PassThroughLayer::seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                                   int whence) {
  return below_->seek(ctx, gfid, offset, whence);
}

Task<Result<std::uint64_t>> PassThroughLayer::copy_range(const OpContext& ctx, Gfid from,
                                                         std::uint64_t from_offset, Gfid to,
                                                         std::uint64_t to_offset, std::uint64_t length) {
  return below_->copy_range(ctx, from, from_offset, to, to_offset, length);
}

Task<Result<FileLock>> PassThroughLayer::test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) {
  return below_->test_lock(ctx, gfid, lock);
}

Task<Result<void>> PassThroughLayer::set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock,
                                              bool wait) {
  return below_->set_lock(ctx, gfid, lock, wait);
}

Task<Result<void>> PassThroughLayer::end_session(const OpContext& ctx) {
  return below_->end_session(ctx);
}

Task<Result<void>> PassThroughLayer::sync(const OpContext& ctx) {
  return below_->sync(ctx);
}

Task<Result<void>> PassThroughLayer::replay(const OpContext& ctx, std::span<const Record> records) {
  return below_->replay(ctx, records);
}

}  // namespace polder
