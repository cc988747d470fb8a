// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/leases/leases_layer.h"

#include <fcntl.h>

#include <algorithm>

#include "base/concurrency_impl.h"
#include "base/coro.h"
#include "base/log.h"

namespace polder {
namespace {

void add(RunningChange::Gfids& gfids, const Gfid& gfid) {
  if (std::ranges::find(gfids, gfid) == gfids.end()) gfids.push_back(gfid);
}

RunningChange of_object(const OpContext& ctx, const Gfid& gfid) {
  RunningChange change;
  change.session = ctx.session;
  change.gfids.push_back(gfid);
  return change;
}

/// `object`: what is behind the name changes, too; until it is known that may be anything.
RunningChange of_name(const OpContext& ctx, const Gfid& parent, std::string_view name, bool object) {
  auto change = of_object(ctx, parent);
  change.names.push_back({parent, name});
  change.everything = object;
  return change;
}

RunningChange of_everything(std::uint32_t session) {
  RunningChange change;
  change.session = session;
  change.everything = true;
  return change;
}

}  // namespace

/// In the table as long as it lives, however the operation ends.
class LeasesLayer::Running {
 public:
  Running(LeasesLayer& layer, RunningChange& change) : layer_(layer), change_(change) {
    layer_.table_.begin(change_);
  }
  ~Running() { layer_.over(change_); }
  Running(const Running&) = delete;

 private:
  LeasesLayer& layer_;
  RunningChange& change_;
};

LeasesLayer::LeasesLayer(Clock& clock, LeaseOptions options)
    : clock_(clock), options_(options), table_(clock, options) {}

LeasesLayer::~LeasesLayer() = default;

// ---- sessions ----

void LeasesLayer::attached(std::uint32_t session, LeaseHolder& holder) {
  table_.attached(session, holder);
  answers_.notify_all();
}

void LeasesLayer::left(std::uint32_t session) {
  table_.left(session);
  answers_.notify_all();
}

void LeasesLayer::forgotten(std::uint32_t session) {
  table_.forgotten(session);
  answers_.notify_all();
}

void LeasesLayer::answered(std::uint32_t session, std::uint64_t number) {
  table_.answered(session, number);
  answers_.notify_all();
}

void LeasesLayer::changed(const Invalidation& change) {
  const bool everything = change.gfid.is_nil() && !change.entry;
  if (everything || !change.gfid.is_nil()) table_.changed(change.gfid, change.origin_session);
  if (change.entry) table_.changed(change.entry->parent, change.origin_session);
}

// ---- changes ----

template <typename T>
Task<Result<T>> LeasesLayer::changing(const OpContext& ctx, RunningChange change, Task<Result<T>> operation) {
  Running running(*this, change);
  if (!may_begin(change)) {
    CO_TRY(co_await admit(ctx, change));
  }
  co_return co_await std::move(operation);
}

void LeasesLayer::over(RunningChange& change) {
  table_.end(change);
  if (waiting_for_names_ > 0 && !change.names.empty()) ended_.notify_all();
}

/// Nobody else is there to mind. If somebody comes, he gets no lease on what this may touch before it is
/// over.
bool LeasesLayer::may_begin(const RunningChange& change) const {
  return !table_.must_wait_for_earlier(change.session) && !table_.name_is_busy(change) &&
         !table_.others_take_part(change.session);
}

Task<Result<void>> LeasesLayer::admit(const OpContext& ctx, RunningChange& change) {
  while (auto until = table_.must_wait_for_earlier(change.session)) {
    if (co_await is_cancelled()) co_return Error(ECANCELED);
    (void)co_await with_deadline<void>(clock_, *until, answers_.wait());
  }
  while (table_.name_is_busy(change)) {
    ++waiting_for_names_;
    auto waited = co_await ended_.wait();
    --waiting_for_names_;
    if (!waited) co_return waited;
  }
  if (!table_.others_take_part(change.session)) co_return Result<void>();
  if (change.everything && !change.names.empty()) {
    CO_TRY(co_await find_objects(ctx, change));
  }
  co_return co_await recall(change);
}

/// Those behind its names.
Task<Result<void>> LeasesLayer::find_objects(const OpContext& ctx, RunningChange& change) {
  OpContext inside = ctx;
  inside.leases = nullptr;
  for (const auto& name : change.names) {
    auto attr = co_await below_->lookup(inside, name.parent, name.name);
    if (attr) {
      add(change.gfids, attr->gfid);
    } else if (attr.failed_with(ECANCELED)) {
      co_return attr.error();
    } else if (!attr.failed_with(ENOENT) && !attr.failed_with(ENOTDIR) && !attr.failed_with(ESTALE)) {
      co_return Result<void>();
    }
  }
  change.everything = false;
  co_return Result<void>();
}

Task<Result<void>> LeasesLayer::recall(RunningChange& change) {
  table_.recall(change);
  while (auto until = table_.must_wait(change)) {
    if (co_await is_cancelled()) co_return Error(ECANCELED);
    (void)co_await with_deadline<void>(clock_, *until, answers_.wait());
  }
  co_return Result<void>();
}

Task<void> LeasesLayer::without_leases(Task<void> work) {
  auto change = of_everything(0);
  Running running(*this, change);
  (void)co_await recall(change);  // cancelled: only when the daemon is
  co_await std::move(work);
}

Task<Result<FileAttr>> LeasesLayer::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                          const NewObject& object) {
  return changing(ctx, of_name(ctx, parent, name, false), below_->mknod(ctx, parent, name, object));
}

Task<Result<FileAttr>> LeasesLayer::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                          const NewObject& object) {
  return changing(ctx, of_name(ctx, parent, name, false), below_->mkdir(ctx, parent, name, object));
}

Task<Result<FileAttr>> LeasesLayer::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                            std::string_view target) {
  return changing(ctx, of_name(ctx, parent, name, false), below_->symlink(ctx, parent, name, target));
}

Task<Result<Opened>> LeasesLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                         const NewObject& object, int flags) {
  const bool truncates = (flags & O_TRUNC) != 0 && (flags & O_EXCL) == 0;
  return changing(ctx, of_name(ctx, parent, name, truncates),
                  below_->create(ctx, parent, name, object, flags));
}

Task<Result<FileAttr>> LeasesLayer::link(const OpContext& ctx, Gfid gfid, Gfid parent,
                                         std::string_view name) {
  auto change = of_name(ctx, parent, name, false);
  add(change.gfids, gfid);
  return changing(ctx, std::move(change), below_->link(ctx, gfid, parent, name));
}

Task<Result<void>> LeasesLayer::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  return changing(ctx, of_name(ctx, parent, name, true), below_->unlink(ctx, parent, name));
}

Task<Result<void>> LeasesLayer::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  return changing(ctx, of_name(ctx, parent, name, true), below_->rmdir(ctx, parent, name));
}

Task<Result<void>> LeasesLayer::rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                       Gfid to_parent, std::string_view to_name, unsigned flags) {
  auto change = of_name(ctx, from_parent, from_name, true);
  add(change.gfids, to_parent);
  change.names.push_back({to_parent, to_name});
  return changing(ctx, std::move(change),
                  below_->rename(ctx, from_parent, from_name, to_parent, to_name, flags));
}

Task<Result<FileAttr>> LeasesLayer::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  return changing(ctx, of_object(ctx, gfid), below_->setattr(ctx, gfid, change));
}

Task<Result<void>> LeasesLayer::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                         std::string_view value, int flags) {
  return changing(ctx, of_object(ctx, gfid), below_->setxattr(ctx, gfid, key, value, flags));
}

Task<Result<void>> LeasesLayer::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  return changing(ctx, of_object(ctx, gfid), below_->removexattr(ctx, gfid, key));
}

Task<Result<Opened>> LeasesLayer::open(const OpContext& ctx, Gfid gfid, int flags) {
  if ((flags & O_TRUNC) == 0) return below_->open(ctx, gfid, flags);
  return changing(ctx, of_object(ctx, gfid), below_->open(ctx, gfid, flags));
}

Task<Result<WriteResult>> LeasesLayer::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                             std::uint64_t offset, Buffer data, bool append) {
  return changing(ctx, of_object(ctx, gfid),
                  below_->write(ctx, gfid, handle, offset, std::move(data), append));
}

Task<Result<void>> LeasesLayer::fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                          std::uint64_t length) {
  return changing(ctx, of_object(ctx, gfid), below_->fallocate(ctx, gfid, mode, offset, length));
}

Task<Result<std::uint64_t>> LeasesLayer::copy_range(const OpContext& ctx, Gfid from,
                                                    std::uint64_t from_offset, Gfid to,
                                                    std::uint64_t to_offset, std::uint64_t length) {
  return changing(ctx, of_object(ctx, to), below_->copy_range(ctx, from, from_offset, to, to_offset, length));
}

Task<Result<void>> LeasesLayer::replay(const OpContext& ctx, std::span<const Record> records) {
  return changing(ctx, of_everything(ctx.session), below_->replay(ctx, records));
}

}  // namespace polder
