// SPDX-License-Identifier: GPL-3.0-or-later
// MemoryLayer: attributes, open files, data, replay, and what all operations share.
#include "core-volume/layers/memory/memory_layer.h"

#include <fcntl.h>

#include "base/coro.h"
#include "core-volume/layer/record_rules.h"

namespace polder {

MemoryLayer::MemoryLayer(HlcClock& hlc, Random& random, Options options)
    : hlc_(hlc), random_(random), options_(options) {}
MemoryLayer::MemoryLayer(HlcClock& hlc, Random& random) : MemoryLayer(hlc, random, Options{}) {}

// --- what all operations share

Result<MemoryObject*> MemoryLayer::object(Gfid gfid) {
  MemoryObject* found = tree_.find(gfid);
  if (!found) return Error(ESTALE);
  return found;
}

Result<MemoryObject*> MemoryLayer::directory(Gfid gfid) {
  TRY(MemoryObject * found, object(gfid));
  if (!found->attr.is_directory()) return Error(ENOTDIR);
  return found;
}

Result<MemoryLayer::Place> MemoryLayer::place(Gfid parent, std::string_view name) {
  TRY(check_name(name));
  TRY(MemoryObject * found, directory(parent));
  return Place{found, tree_.entry(*found, name)};
}

Result<MemoryLayer::Place> MemoryLayer::place_for_new(Gfid parent, std::string_view name) {
  TRY(Place at, place(parent, name));
  if (!tree_.has_name(*at.parent)) return Error(ENOENT);
  return at;
}

Result<FileAttr> MemoryLayer::attr(Gfid gfid) {
  TRY(MemoryObject * found, object(gfid));
  return tree_.attr_of(*found);
}

Result<void> MemoryLayer::check_handle(const OpContext& ctx, Gfid gfid, HandleId handle) const {
  if (ctx.session == 0 && handle == 0) return {};
  auto at = handles_.find(handle);
  if (at == handles_.end() || at->second.gfid != gfid || at->second.session != ctx.session)
    return Error(EBADF);
  return {};
}

const MemoryLayer::Done* MemoryLayer::done_before(const OpContext& ctx) const {
  if (!ctx.retry || ctx.sequence == 0) return nullptr;
  auto at = done_.find({ctx.session, ctx.sequence});
  return at == done_.end() ? nullptr : &at->second;
}

void MemoryLayer::remember(const OpContext& ctx, const Done& done) {
  if (ctx.sequence == 0) return;
  const std::pair key(ctx.session, ctx.sequence);
  if (done_.insert_or_assign(key, done).second) done_order_.push_back(key);
  while (done_order_.size() > kRetriesKept) {
    done_.erase(done_order_.front());
    done_order_.pop_front();
  }
}

Record MemoryLayer::begin(const OpContext& ctx, RecordKind kind, Gfid gfid) {
  Record record;
  record.kind = kind;
  record.hlc = hlc_.next();
  record.time_ns = record.hlc.ns;
  record.session = ctx.session;
  record.sequence = ctx.sequence;
  record.gfid = gfid;
  return record;
}

void MemoryLayer::commit(const OpContext& ctx, Record record, const Done& done) {
  tree_.apply(record);
  tree_.collect();
  remember(ctx, done);
  if (options_.keep_records) records_.push_back(std::move(record));
}

// --- attributes

Task<Result<FileAttr>> MemoryLayer::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  if (done_before(ctx)) co_return attr(gfid);
  CO_TRY(FileAttr before, attr(gfid));
  CO_TRY(check_setattr(before, change));
  if (change.fields & SetAttr::kSize) {
    Record record = begin(ctx, RecordKind::kTruncate, gfid);
    record.length = change.size;
    commit(ctx, std::move(record), {.gfid = gfid});
  }
  if (change.fields & ~static_cast<std::uint32_t>(SetAttr::kSize)) {
    CO_TRY(FileAttr now, attr(gfid));
    Record record = begin(ctx, RecordKind::kSetattr, gfid);
    record.state = state_after_setattr(now, change, time_from_ns(record.time_ns));
    commit(ctx, std::move(record), {.gfid = gfid});
  }
  co_return attr(gfid);
}

Task<Result<std::string>> MemoryLayer::getxattr(const OpContext&, Gfid gfid, std::string_view key) {
  CO_TRY(MemoryObject * found, object(gfid));
  CO_TRY(check_xattr_key(key));
  auto at = found->xattrs.find(std::string(key));
  if (at == found->xattrs.end()) co_return Error(ENODATA);
  co_return at->second;
}

Task<Result<std::vector<std::string>>> MemoryLayer::listxattr(const OpContext&, Gfid gfid) {
  CO_TRY(MemoryObject * found, object(gfid));
  std::vector<std::string> keys;
  for (const auto& [key, value] : found->xattrs) keys.push_back(key);
  co_return keys;
}

Task<Result<void>> MemoryLayer::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                         std::string_view value, int flags) {
  if (done_before(ctx)) co_return Result<void>();
  CO_TRY(MemoryObject * found, object(gfid));
  const XattrFacts facts{found->attr, found->xattrs.contains(std::string(key))};
  CO_TRY(XattrPlan plan, plan_setxattr(facts, key, value, flags));
  if (plan.nothing) co_return Result<void>();
  Record record = begin(ctx, RecordKind::kXattr, gfid);
  record.key = std::string(key);
  record.value = std::move(plan.value);
  record.state.mode = plan.mode;
  commit(ctx, std::move(record), {.gfid = gfid});
  co_return Result<void>();
}

Task<Result<void>> MemoryLayer::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  if (done_before(ctx)) co_return Result<void>();
  CO_TRY(MemoryObject * found, object(gfid));
  const XattrFacts facts{found->attr, found->xattrs.contains(std::string(key))};
  CO_TRY(XattrPlan plan, plan_removexattr(facts, key));
  if (plan.nothing) co_return Result<void>();
  Record record = begin(ctx, RecordKind::kXattr, gfid);
  record.key = std::string(key);
  record.state.mode = plan.mode;
  commit(ctx, std::move(record), {.gfid = gfid});
  co_return Result<void>();
}

// --- open files

Result<Opened> MemoryLayer::open_object(const OpContext& ctx, Gfid gfid, int flags) {
  TRY(FileAttr before, attr(gfid));
  TRY(check_open(before, flags));
  if (flags & O_TRUNC) commit(ctx, begin(ctx, RecordKind::kTruncate, gfid), {.gfid = gfid});
  const HandleId handle = ++last_handle_;
  handles_[handle] = {gfid, ctx.session};
  ++tree_.find(gfid)->handles;
  return Opened{.attr = *attr(gfid), .handle = handle};
}

Task<Result<Opened>> MemoryLayer::open(const OpContext& ctx, Gfid gfid, int flags) {
  if (done_before(ctx)) flags &= ~O_TRUNC;
  co_return open_object(ctx, gfid, flags);
}

void MemoryLayer::close(std::map<HandleId, OpenFile>::iterator handle) {
  --tree_.find(handle->second.gfid)->handles;
  handles_.erase(handle);
}

Task<Result<void>> MemoryLayer::release(const OpContext& ctx, Gfid gfid, HandleId handle) {
  auto at = handles_.find(handle);
  if (at != handles_.end() && at->second.gfid == gfid && at->second.session == ctx.session) {
    close(at);
    tree_.collect();
  }
  co_return Result<void>();
}

Task<Result<void>> MemoryLayer::end_session(const OpContext& ctx) {
  for (auto at = handles_.begin(); at != handles_.end();) {
    auto here = at++;
    if (here->second.session == ctx.session) close(here);
  }
  tree_.collect();
  co_return Result<void>();
}

// --- data

Task<Result<Buffer>> MemoryLayer::read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                       std::uint32_t length) {
  CO_TRY(MemoryObject * found, object(gfid));
  CO_TRY(check_data_object(found->attr));
  CO_TRY(check_handle(ctx, gfid, handle));
  co_return found->data.read(offset, length);
}

Task<Result<WriteResult>> MemoryLayer::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                             std::uint64_t offset, Buffer data, bool append) {
  CO_TRY(MemoryObject * found, object(gfid));
  if (const Done* done = done_before(ctx)) co_return WriteResult{done->offset, tree_.attr_of(*found)};
  CO_TRY(check_data_object(found->attr));
  CO_TRY(check_handle(ctx, gfid, handle));
  if (append) offset = found->data.size();
  CO_TRY(check_extent(offset, data.size()));
  if (!data.empty()) {
    Record record = begin(ctx, RecordKind::kWrite, gfid);
    record.offset = offset;
    record.length = data.size();
    record.data = std::move(data);
    commit(ctx, std::move(record), {.gfid = gfid, .offset = offset});
  }
  co_return WriteResult{offset, tree_.attr_of(*found)};
}

Task<Result<void>> MemoryLayer::fsync(const OpContext&, Gfid gfid, bool) {
  CO_TRY(object(gfid));
  co_return Result<void>();
}

Task<Result<void>> MemoryLayer::fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                          std::uint64_t length) {
  if (done_before(ctx)) co_return Result<void>();
  CO_TRY(MemoryObject * found, object(gfid));
  CO_TRY(FallocatePlan plan, plan_fallocate(found->attr, mode, offset, length));
  Record record = begin(ctx, plan.kind, gfid);
  record.offset = offset;
  record.length = length;
  record.keep_size = plan.keep_size;
  commit(ctx, std::move(record), {.gfid = gfid});
  co_return Result<void>();
}

Task<Result<std::uint64_t>> MemoryLayer::seek(const OpContext&, Gfid gfid, std::uint64_t offset, int whence) {
  CO_TRY(MemoryObject * found, object(gfid));
  CO_TRY(check_data_object(found->attr));
  co_return found->data.seek(offset, whence);
}

Task<Result<std::uint64_t>> MemoryLayer::copy_range(const OpContext& ctx, Gfid from,
                                                    std::uint64_t from_offset, Gfid to,
                                                    std::uint64_t to_offset, std::uint64_t length) {
  if (const Done* done = done_before(ctx)) co_return done->length;
  CO_TRY(MemoryObject * source, object(from));
  CO_TRY(MemoryObject * target, object(to));
  CO_TRY(length,
         plan_copy_range(tree_.attr_of(*source), from_offset, tree_.attr_of(*target), to_offset, length));
  if (length == 0) co_return length;
  // The bytes go straight over, so that holes stay holes; the record says where.
  target->data.copy(source->data, from_offset, to_offset, length);
  Record record = begin(ctx, RecordKind::kWrite, to);
  record.offset = to_offset;
  record.length = length;
  if (options_.keep_records) record.data = target->data.read(to_offset, length);
  commit(ctx, std::move(record), {.gfid = to, .length = length});
  co_return length;
}

// --- the rest

Task<Result<FileLock>> MemoryLayer::test_lock(const OpContext&, Gfid, const FileLock&) {
  co_return Error(ENOSYS).with("locks need a locks layer above");
}

Task<Result<void>> MemoryLayer::set_lock(const OpContext&, Gfid, const FileLock&, bool) {
  co_return Error(ENOSYS).with("locks need a locks layer above");
}

Task<Result<void>> MemoryLayer::sync(const OpContext&) {
  co_return Result<void>();
}

Task<Result<void>> MemoryLayer::replay(const OpContext&, std::span<const Record> records) {
  for (const Record& record : records) {
    CO_TRY(check_record(record));
    MemoryObject* there = tree_.find(record.gfid);
    if (there && record.kind == RecordKind::kCreate && (there->attr.mode ^ record.state.mode) & S_IFMT)
      co_return Error(EINVAL).with("record {}: {} is an object of another type", record.index,
                                   record.gfid.hex());
  }
  for (const Record& record : records) {
    tree_.apply(record);
    if (options_.keep_records) records_.push_back(record);
  }
  tree_.collect();
  co_return Result<void>();
}

}  // namespace polder
