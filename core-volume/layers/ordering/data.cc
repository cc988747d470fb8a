// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: changes of bytes. The object's key is held exclusively, so the order of overlapping writes
// is that of the log, and an append is placed where no other one is.
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

Task<Result<WriteResult>> OrderingLayer::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                               std::uint64_t offset, Buffer data, bool append) {
  Keys keys{object_key(gfid, KeyLocks::Mode::kExclusive)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  if (const auto* done = done_before(ctx)) {
    auto placed = done->offset;
    CO_TRY(auto attr, co_await attr_of_done(gfid));
    co_return WriteResult{placed, attr};
  }
  const bool inside = ctx.session == 0 && handle == 0;
  if (!inside && !opens_.has(ctx.session, gfid, handle)) {
    CO_TRY(co_await refuse_handle(gfid));
  }
  const auto room = co_await room_for(data.size());
  Record record;
  auto write = [&] { return write_on_worker(ctx, gfid, offset, data, append, room, record); };
  const bool unlogged = data.size() > options_.inline_data_bytes;
  const bool is_long = data.size() > kShortTransferMax_bytes || told_files_.would_wait(gfid) ||
                       (unlogged && data_sync_.relied_on_log(gfid));
  auto written = is_long ? co_await on_worker(seams_.workers, write) : co_await on_worker(short_work_, write);
  finish(ctx, record);
  co_return written;
}

Result<WriteResult> OrderingLayer::write_on_worker(const OpContext& ctx, const Gfid& gfid,
                                                   std::uint64_t offset, const Buffer& data, bool append,
                                                   const Result<void>& room, Record& record) {
  if (append) {
    TRY(offset, store_.size(gfid));
  } else {
    TRY(store_.check_regular(gfid));
  }
  TRY(check_extent(offset, data.size()));
  if (!data.empty()) {
    TRY(room);
    record = begin(ctx, RecordKind::kWrite, gfid);
    record.offset = offset;
    record.length = data.size();
    record.keep_size = append;  // recovery: see redo()
    if (data.size() <= options_.inline_data_bytes) record.data = data;
    Applying how;
    how.apply = [&](const Record& appended) { return store_.apply_write(appended, data.bytes()); };
    TRY(commit(record, how));
  }
  TRY(auto attr, attr_after(gfid));
  return WriteResult{offset, attr};
}

Task<Result<void>> OrderingLayer::fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                            std::uint64_t length) {
  Keys keys{object_key(gfid, KeyLocks::Mode::kExclusive)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  if (done_before(ctx)) co_return Result<void>();
  const bool allocates = (mode & ~FALLOC_FL_KEEP_SIZE) == 0;
  const auto room = allocates ? co_await room_for(length) : Result<void>();
  Record record;
  auto done = co_await on_worker(
      seams_.workers, [&] { return fallocate_on_worker(ctx, gfid, mode, offset, length, room, record); });
  finish(ctx, record);
  co_return done;
}

Result<void> OrderingLayer::fallocate_on_worker(const OpContext& ctx, const Gfid& gfid, int mode,
                                                std::uint64_t offset, std::uint64_t length,
                                                const Result<void>& room, Record& record) {
  TRY(auto before, store_.attr(gfid));
  TRY(auto plan, plan_fallocate(before, mode, offset, length));
  if (plan.kind == RecordKind::kFallocate) {
    TRY(room);
    // Before the record: whether there is room is the file system's word, and this shows nobody anything.
    TRY(store_.reserve(gfid, offset, length));
  }
  record = begin(ctx, plan.kind, gfid);
  record.offset = offset;
  record.length = length;
  record.keep_size = plan.keep_size;
  Applying how;
  how.undo.emplace();
  how.undo->kind = RecordKind::kTruncate;
  how.undo->gfid = gfid;
  how.undo->length = before.size;
  return commit(record, how);
}

struct OrderingLayer::Copy {
  Gfid from, to;
  std::uint64_t from_offset, to_offset, length;
  std::uint64_t lacks = 0;  // bytes that it found no room for: nothing has happened
};

Task<Result<std::uint64_t>> OrderingLayer::copy_range(const OpContext& ctx, Gfid from,
                                                      std::uint64_t from_offset, Gfid to,
                                                      std::uint64_t to_offset, std::uint64_t length) {
  Keys keys{object_key(from, KeyLocks::Mode::kShared), object_key(to, KeyLocks::Mode::kExclusive)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  if (const auto* done = done_before(ctx)) co_return done->length;
  Copy copy{from, to, from_offset, to_offset, length};
  Record record;
  auto work = [&] { return copy_on_worker(ctx, copy, record); };
  auto copied = co_await on_worker(seams_.workers, work);
  while (copy.lacks != 0) {
    CO_TRY(co_await room_for(std::exchange(copy.lacks, 0)));
    copied = co_await on_worker(seams_.workers, work);
  }
  finish(ctx, record);
  co_return copied;
}

Result<std::uint64_t> OrderingLayer::copy_on_worker(const OpContext& ctx, Copy& copy, Record& record) {
  TRY(auto source, store_.attr(copy.from));
  TRY(auto target, store_.attr(copy.to));
  TRY(auto length, plan_copy_range(source, copy.from_offset, target, copy.to_offset, copy.length));
  if (length == 0) return length;
  if (auto room = check_space(length); !room) {
    copy.lacks = length;
    return std::move(room).error();
  }
  record = begin(ctx, RecordKind::kWrite, copy.to);
  record.offset = copy.to_offset;
  record.length = length;
  Applying how;
  if (length <= options_.inline_data_bytes) {
    TRY(record.data, store_.read(copy.from, copy.from_offset, static_cast<std::uint32_t>(length)));
  } else {
    how.apply = [&](const Record& appended) {
      return store_.apply_copy(appended, copy.from, copy.from_offset);
    };
  }
  TRY(commit(record, how));
  return length;
}

}  // namespace polder
