// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/distribute/distribute_layer.h"

#include <fcntl.h>

#include "base/concurrency.h"
#include "base/coro.h"
#include "core-volume/layer/not_there_yet.h"

namespace polder {

void DistributeLayer::set_child(std::uint32_t set, FileOps& ops, InvalidationSource& invalidations) {
  children_[set] = {&ops, {}};
  invalidations.on_invalidation([this](const Invalidation& what) {
    if (listener_) listener_(what);
  });
}

void DistributeLayer::clear_child(std::uint32_t set, std::string why) {
  children_[set] = {nullptr, std::move(why)};
}

void DistributeLayer::on_invalidation(std::function<void(const Invalidation&)> listener) {
  listener_ = std::move(listener);
}

Result<FileOps*> DistributeLayer::child(const Gfid& gfid) const {
  const auto set = placement_.set_of(gfid);
  auto found = children_.find(set);
  if (found != children_.end() && found->second.ops) return found->second.ops;
  return Error(EIO).with("set {} of the volume does not run: {}", set,
                         found == children_.end() ? "it has no brick here" : found->second.why);
}

std::vector<FileOps*> DistributeLayer::children() const {
  std::vector<FileOps*> running;
  for (const auto& [set, child] : children_)
    if (child.ops) running.push_back(child.ops);
  return running;
}

Task<Result<FileAttr>> DistributeLayer::complete(const OpContext& ctx, FileAttr attr) {
  if (!attr.elsewhere) co_return attr;
  CO_TRY(auto* owner, child(attr.gfid));
  co_return co_await owner->getattr(ctx, attr.gfid);
}

Task<Result<FileAttr>> DistributeLayer::complete_change(const OpContext& ctx, FileAttr attr) {
  auto completed = co_await complete(ctx, attr);
  if (completed) co_return completed;
  auto why = completed.failed_with(ESTALE) ? not_there_yet(attr.gfid) : std::move(completed).error();
  co_return std::move(why).set_maybe_applied();
}

// --- looking

Task<Result<FileAttr>> DistributeLayer::lookup(const OpContext& ctx, Gfid parent, std::string_view name) {
  Gfid missing;
  while (true) {
    CO_TRY(auto* home, child(parent));  // it may have gone meanwhile
    CO_TRY(auto entry, co_await home->lookup(ctx, parent, name));
    if (entry.gfid == missing) co_return not_there_yet(missing);
    auto attr = co_await complete(ctx, entry);
    // Its last name went between the two: the name shows something else by now, or nothing.
    if (!attr.failed_with(ESTALE)) co_return attr;
    missing = entry.gfid;
  }
}

Task<Result<FileAttr>> DistributeLayer::getattr(const OpContext& ctx, Gfid gfid) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->getattr(ctx, gfid);
}

Task<Result<std::string>> DistributeLayer::readlink(const OpContext& ctx, Gfid gfid) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->readlink(ctx, gfid);
}

Task<Result<DirectoryPage>> DistributeLayer::readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                                     std::uint32_t max_entries, bool with_attributes) {
  CO_TRY(auto* owner, child(gfid));
  CO_TRY(auto page, co_await owner->readdir(ctx, gfid, cookie, max_entries, with_attributes));
  if (!with_attributes) co_return page;
  std::vector<ListedEntry> entries;
  entries.reserve(page.entries.size());
  for (auto& entry : page.entries) {
    auto attr = co_await complete(ctx, entry.attr);
    if (attr.failed_with(ESTALE)) continue;  // it has just gone
    // A set that does not run must not hide the names of its files: they are listed without attributes.
    if (attr) entry.attr = *attr;
    entries.push_back(std::move(entry));
  }
  page.entries = std::move(entries);
  co_return page;
}

Task<Result<VolumeSpace>> DistributeLayer::statfs(const OpContext& ctx) {
  VolumeSpace sum;
  for (auto* one : children()) {
    CO_TRY(auto space, co_await one->statfs(ctx));
    auto blocks = [&](std::uint64_t count) { return count * space.block_size / sum.block_size; };
    sum.blocks += blocks(space.blocks);
    sum.blocks_free += blocks(space.blocks_free);
    sum.blocks_available += blocks(space.blocks_available);
    sum.files += space.files;
    sum.files_free += space.files_free;
    sum.name_max = std::min(sum.name_max, space.name_max);
  }
  co_return sum;
}

// --- names: the set of the (target) directory

Task<Result<FileAttr>> DistributeLayer::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                              const NewObject& object) {
  CO_TRY(auto* home, child(parent));
  CO_TRY(auto attr, co_await home->mknod(ctx, parent, name, object));
  co_return co_await complete_change(ctx, attr);
}

Task<Result<FileAttr>> DistributeLayer::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                              const NewObject& object) {
  CO_TRY(auto* home, child(parent));
  CO_TRY(auto attr, co_await home->mkdir(ctx, parent, name, object));
  co_return co_await complete_change(ctx, attr);
}

Task<Result<FileAttr>> DistributeLayer::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                                std::string_view target) {
  CO_TRY(auto* home, child(parent));
  CO_TRY(auto attr, co_await home->symlink(ctx, parent, name, target));
  co_return co_await complete_change(ctx, attr);
}

Task<Result<Opened>> DistributeLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                             const NewObject& object, int flags) {
  Gfid missing;
  while (true) {
    CO_TRY(auto* home, child(parent));
    CO_TRY(auto made, co_await home->create(ctx, parent, name, object, flags));
    if (!made.attr.elsewhere) co_return made;
    const auto gfid = made.attr.gfid;
    if (gfid == missing) co_return not_there_yet(gfid);
    const int rest = O_CREAT | O_EXCL | (made.created ? O_TRUNC : 0);
    auto opened = co_await open(ctx, gfid, flags & ~rest);
    if (opened) opened->created = made.created;
    if (opened || (!made.created && !opened.failed_with(ESTALE))) co_return opened;
    if (made.created) {
      auto why = opened.failed_with(ESTALE) ? not_there_yet(gfid) : std::move(opened).error();
      co_return std::move(why).set_maybe_applied();
    }
    missing = gfid;  // gone between the two
  }
}

Task<Result<FileAttr>> DistributeLayer::link(const OpContext& ctx, Gfid gfid, Gfid parent,
                                             std::string_view name) {
  CO_TRY(auto* home, child(parent));
  CO_TRY(auto attr, co_await home->link(ctx, gfid, parent, name));
  co_return co_await complete_change(ctx, attr);
}

Task<Result<void>> DistributeLayer::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  CO_TRY(auto* home, child(parent));
  co_return co_await home->unlink(ctx, parent, name);
}

Task<Result<void>> DistributeLayer::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  CO_TRY(auto* home, child(parent));
  co_return co_await home->rmdir(ctx, parent, name);
}

Task<Result<void>> DistributeLayer::rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                           Gfid to_parent, std::string_view to_name, unsigned flags) {
  CO_TRY(auto* home, child(to_parent));
  co_return co_await home->rename(ctx, from_parent, from_name, to_parent, to_name, flags);
}

// --- objects

Task<Result<FileAttr>> DistributeLayer::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->setattr(ctx, gfid, change);
}

Task<Result<std::string>> DistributeLayer::getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->getxattr(ctx, gfid, key);
}

Task<Result<std::vector<std::string>>> DistributeLayer::listxattr(const OpContext& ctx, Gfid gfid) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->listxattr(ctx, gfid);
}

Task<Result<void>> DistributeLayer::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                             std::string_view value, int flags) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->setxattr(ctx, gfid, key, value, flags);
}

Task<Result<void>> DistributeLayer::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->removexattr(ctx, gfid, key);
}

Task<Result<Opened>> DistributeLayer::open(const OpContext& ctx, Gfid gfid, int flags) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->open(ctx, gfid, flags);
}

Task<Result<void>> DistributeLayer::release(const OpContext& ctx, Gfid gfid, HandleId handle) {
  auto owner = child(gfid);
  if (!owner) co_return Result<void>();  // the handle went with its brick
  co_return co_await (*owner)->release(ctx, gfid, handle);
}

Task<Result<Buffer>> DistributeLayer::read(const OpContext& ctx, Gfid gfid, HandleId handle,
                                           std::uint64_t offset, std::uint32_t length) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->read(ctx, gfid, handle, offset, length);
}

Task<Result<WriteResult>> DistributeLayer::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                                 std::uint64_t offset, Buffer data, bool append) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->write(ctx, gfid, handle, offset, std::move(data), append);
}

Task<Result<void>> DistributeLayer::fsync(const OpContext& ctx, Gfid gfid, bool data_only) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->fsync(ctx, gfid, data_only);
}

Task<Result<void>> DistributeLayer::fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                              std::uint64_t length) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->fallocate(ctx, gfid, mode, offset, length);
}

Task<Result<std::uint64_t>> DistributeLayer::seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                                  int whence) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->seek(ctx, gfid, offset, whence);
}

Task<Result<std::uint64_t>> DistributeLayer::copy_range(const OpContext& ctx, Gfid from,
                                                        std::uint64_t from_offset, Gfid to,
                                                        std::uint64_t to_offset, std::uint64_t length) {
  CO_TRY(auto* source, child(from));
  CO_TRY(auto* target, child(to));
  if (source != target) co_return Error(EXDEV);
  co_return co_await target->copy_range(ctx, from, from_offset, to, to_offset, length);
}

Task<Result<FileLock>> DistributeLayer::test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->test_lock(ctx, gfid, lock);
}

Task<Result<void>> DistributeLayer::set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock,
                                             bool wait) {
  CO_TRY(auto* owner, child(gfid));
  co_return co_await owner->set_lock(ctx, gfid, lock, wait);
}

// --- all sets

namespace {

Result<void> first_error(const std::vector<Result<void>>& outcomes) {
  for (const auto& outcome : outcomes)
    if (!outcome) return outcome.error();
  return {};
}

}  // namespace

Task<Result<void>> DistributeLayer::end_session(const OpContext& ctx) {
  std::vector<Task<Result<void>>> tasks;
  for (auto* one : children()) tasks.push_back(one->end_session(ctx));
  co_return first_error(co_await fan_out(std::move(tasks)));
}

Task<Result<void>> DistributeLayer::sync(const OpContext& ctx) {
  std::vector<Task<Result<void>>> tasks;
  for (auto* one : children()) tasks.push_back(one->sync(ctx));
  co_return first_error(co_await fan_out(std::move(tasks)));
}

Task<Result<void>> DistributeLayer::replay(const OpContext&, std::span<const Record>) {
  co_return Error(EOPNOTSUPP).with("records of another volume on a volume of several sets");
}

}  // namespace polder
