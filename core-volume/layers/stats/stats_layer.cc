// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/stats/stats_layer.h"

#include "base/coro.h"

namespace polder {

// Everything is counted after the operation has come back, so a task that is destroyed on its way (a loop
// that is torn down after its layers) touches nothing of ours: OpUnderWay unlinks itself from whatever is
// left.
template <typename T, typename Note>
Task<Result<T>> StatsLayer::counted(OpKind kind, const OpContext& ctx, Gfid gfid, Task<Result<T>> operation,
                                    Note note) {
  OpUnderWay op(kind, ctx, gfid, clock_.boot_time());
  under_way_.push_back(op);
  Result<T> result = co_await std::move(operation);
  const auto now = clock_.boot_time();
  const auto took = count(op, result ? nullptr : &result.error(), now);
  if (result) note(result, Ended{op, took, now});
  co_return std::move(result);
}

template <typename T>
Task<Result<T>> StatsLayer::counted(OpKind kind, const OpContext& ctx, Gfid gfid, Task<Result<T>> operation) {
  return counted(kind, ctx, gfid, std::move(operation), [](const Result<T>&, const Ended&) {});
}

nanoseconds StatsLayer::count(const OpUnderWay& op, const Error* failure, nanoseconds now) {
  const auto took = std::max(now - op.since, nanoseconds(0));
  auto& counters = counters_.of(op.kind);
  ++counters.count;
  counters.total_ns += static_cast<std::uint64_t>(took.count());
  counters.latency.add(static_cast<std::uint64_t>(took.count()));
  if (failure != nullptr) counters.failed(failure->code());
  return took;
}

void StatsLayer::clear_tops() {
  for (auto& top : tops_) top.clear();
}

std::vector<StatsLayer::UnderWay> StatsLayer::under_way(std::size_t most) const {
  std::vector<UnderWay> list;
  const auto now = clock_.boot_time();
  for (const auto& op : under_way_) {
    if (list.size() >= most) break;
    list.push_back({op.kind, op.gfid, op.ctx.session, op.ctx.uid, op.ctx.pid, now - op.since});
  }
  return list;
}

void StatsLayer::start_profile() {
  const auto now = clock_.boot_time();
  profile_ = Baseline{counters_, counters_, now, now, 0};
}

Profile StatsLayer::profile(bool end_interval) {
  auto& base = *profile_;
  const auto now = clock_.boot_time();
  Profile profile{.cumulative = counters_,
                  .cumulative_time = now - base.start_time,
                  .interval = counters_,
                  .interval_time = now - base.interval_time,
                  .interval_number = base.interval_number};
  profile.cumulative.subtract(base.start);
  profile.interval.subtract(base.interval);
  if (end_interval) {
    base.interval = counters_;
    base.interval_time = now;
    ++base.interval_number;
  }
  return profile;
}

Task<Result<FileAttr>> StatsLayer::lookup(const OpContext& ctx, Gfid parent, std::string_view name) {
  return counted(OpKind::kLookup, ctx, parent, below_.lookup(ctx, parent, name));
}

Task<Result<FileAttr>> StatsLayer::getattr(const OpContext& ctx, Gfid gfid) {
  return counted(OpKind::kGetattr, ctx, gfid, below_.getattr(ctx, gfid));
}

Task<Result<std::string>> StatsLayer::readlink(const OpContext& ctx, Gfid gfid) {
  return counted(OpKind::kReadlink, ctx, gfid, below_.readlink(ctx, gfid));
}

Task<Result<DirectoryPage>> StatsLayer::readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                                std::uint32_t max_entries, bool with_attributes) {
  return counted(OpKind::kReaddir, ctx, gfid, below_.readdir(ctx, gfid, cookie, max_entries, with_attributes),
                 [this, cookie](const Result<DirectoryPage>&, const Ended& ended) {
                   // There is no opendir on the wire: a listing from its start is one.
                   if (cookie == 0) hot(Top::kOpendir).touch(ended.op.gfid);
                   hot(Top::kReaddir).touch(ended.op.gfid);
                 });
}

Task<Result<VolumeSpace>> StatsLayer::statfs(const OpContext& ctx) {
  return counted(OpKind::kStatfs, ctx, Gfid{}, below_.statfs(ctx));
}

Task<Result<FileAttr>> StatsLayer::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                         const NewObject& object) {
  return counted(OpKind::kMknod, ctx, parent, below_.mknod(ctx, parent, name, object));
}

Task<Result<FileAttr>> StatsLayer::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                         const NewObject& object) {
  return counted(OpKind::kMkdir, ctx, parent, below_.mkdir(ctx, parent, name, object));
}

Task<Result<FileAttr>> StatsLayer::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                           std::string_view target) {
  return counted(OpKind::kSymlink, ctx, parent, below_.symlink(ctx, parent, name, target));
}

Task<Result<Opened>> StatsLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                        const NewObject& object, int flags) {
  return counted(
      OpKind::kCreate, ctx, parent, below_.create(ctx, parent, name, object, flags),
      [this](const Result<Opened>& made, const Ended&) { hot(Top::kOpen).touch(made->attr.gfid); });
}

Task<Result<FileAttr>> StatsLayer::link(const OpContext& ctx, Gfid gfid, Gfid parent, std::string_view name) {
  return counted(OpKind::kLink, ctx, gfid, below_.link(ctx, gfid, parent, name));
}

Task<Result<void>> StatsLayer::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  return counted(OpKind::kUnlink, ctx, parent, below_.unlink(ctx, parent, name));
}

Task<Result<void>> StatsLayer::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  return counted(OpKind::kRmdir, ctx, parent, below_.rmdir(ctx, parent, name));
}

Task<Result<void>> StatsLayer::rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                      Gfid to_parent, std::string_view to_name, unsigned flags) {
  return counted(OpKind::kRename, ctx, from_parent,
                 below_.rename(ctx, from_parent, from_name, to_parent, to_name, flags));
}

Task<Result<FileAttr>> StatsLayer::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  return counted(OpKind::kSetattr, ctx, gfid, below_.setattr(ctx, gfid, change));
}

Task<Result<std::string>> StatsLayer::getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  return counted(OpKind::kGetxattr, ctx, gfid, below_.getxattr(ctx, gfid, key));
}

Task<Result<std::vector<std::string>>> StatsLayer::listxattr(const OpContext& ctx, Gfid gfid) {
  return counted(OpKind::kListxattr, ctx, gfid, below_.listxattr(ctx, gfid));
}

Task<Result<void>> StatsLayer::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                        std::string_view value, int flags) {
  return counted(OpKind::kSetxattr, ctx, gfid, below_.setxattr(ctx, gfid, key, value, flags));
}

Task<Result<void>> StatsLayer::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  return counted(OpKind::kRemovexattr, ctx, gfid, below_.removexattr(ctx, gfid, key));
}

Task<Result<Opened>> StatsLayer::open(const OpContext& ctx, Gfid gfid, int flags) {
  return counted(OpKind::kOpen, ctx, gfid, below_.open(ctx, gfid, flags),
                 [this](const Result<Opened>&, const Ended& ended) { hot(Top::kOpen).touch(ended.op.gfid); });
}

Task<Result<void>> StatsLayer::release(const OpContext& ctx, Gfid gfid, HandleId handle) {
  return counted(OpKind::kRelease, ctx, gfid, below_.release(ctx, gfid, handle));
}

Task<Result<Buffer>> StatsLayer::read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                      std::uint32_t length) {
  return counted(
      OpKind::kRead, ctx, gfid, below_.read(ctx, gfid, handle, offset, length),
      [this](const Result<Buffer>& data, const Ended& ended) {
        counters_.of(OpKind::kRead).bytes += data->size();
        counters_.read_sizes.add(data->size());
        hot(Top::kRead).moved(ended.op.gfid, static_cast<std::uint32_t>(data->size()), ended.took, ended.now);
      });
}

Task<Result<WriteResult>> StatsLayer::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                            std::uint64_t offset, Buffer data, bool append) {
  const auto bytes = static_cast<std::uint32_t>(data.size());
  return counted(OpKind::kWrite, ctx, gfid, below_.write(ctx, gfid, handle, offset, std::move(data), append),
                 [this, bytes](const Result<WriteResult>&, const Ended& ended) {
                   counters_.of(OpKind::kWrite).bytes += bytes;
                   counters_.write_sizes.add(bytes);
                   hot(Top::kWrite).moved(ended.op.gfid, bytes, ended.took, ended.now);
                 });
}

Task<Result<void>> StatsLayer::fsync(const OpContext& ctx, Gfid gfid, bool data_only) {
  return counted(OpKind::kFsync, ctx, gfid, below_.fsync(ctx, gfid, data_only));
}

Task<Result<void>> StatsLayer::fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                         std::uint64_t length) {
  return counted(OpKind::kFallocate, ctx, gfid, below_.fallocate(ctx, gfid, mode, offset, length));
}

Task<Result<std::uint64_t>> StatsLayer::seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                             int whence) {
  return counted(OpKind::kSeek, ctx, gfid, below_.seek(ctx, gfid, offset, whence));
}

Task<Result<std::uint64_t>> StatsLayer::copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset,
                                                   Gfid to, std::uint64_t to_offset, std::uint64_t length) {
  return counted(OpKind::kCopyRange, ctx, from,
                 below_.copy_range(ctx, from, from_offset, to, to_offset, length),
                 [this](const Result<std::uint64_t>& copied, const Ended&) {
                   counters_.of(OpKind::kCopyRange).bytes += *copied;
                 });
}

Task<Result<FileLock>> StatsLayer::test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) {
  return counted(OpKind::kTestLock, ctx, gfid, below_.test_lock(ctx, gfid, lock));
}

Task<Result<void>> StatsLayer::set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) {
  return counted(OpKind::kSetLock, ctx, gfid, below_.set_lock(ctx, gfid, lock, wait));
}

Task<Result<void>> StatsLayer::end_session(const OpContext& ctx) {
  return counted(OpKind::kEndSession, ctx, Gfid{}, below_.end_session(ctx));
}

Task<Result<void>> StatsLayer::sync(const OpContext& ctx) {
  return counted(OpKind::kSync, ctx, Gfid{}, below_.sync(ctx));
}

Task<Result<void>> StatsLayer::replay(const OpContext& ctx, std::span<const Record> records) {
  return counted(OpKind::kReplay, ctx, Gfid{}, below_.replay(ctx, records));
}

}  // namespace polder
