// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/apply.h"

#include "base/coro.h"
#include "base/crash_point.h"
#include "base/on_worker.h"
#include "core-volume/layer/record_rules.h"
#include "georep/protocol/record_block.h"
#include "georep/protocol/stream.h"
#include "georep/secondary/unlisted.h"
#include "proto/georep.pb.h"

namespace polder::georep {

namespace {

// One replay() call: large enough to amortise, small enough not to hold the brick's locks for long.
constexpr std::size_t kBatchRecords = 256;
constexpr std::size_t kBatch_bytes = 4u << 20;
constexpr std::size_t kRebuiltPiece_bytes = 1u << 20;

Result<Record> record_of_extent(const Extent& extent, const Buffer& payload) {
  Record record;
  record.kind = RecordKind::kWrite;
  TRY(record.gfid, gfid_from(extent.gfid()));
  record.offset = extent.offset();
  TRY(record.data, unpack(payload, extent.raw_bytes()));
  record.length = record.data.size();
  record.time_ns = extent.time_ns();
  return record;
}

/// A hole where the file may have bytes; at the end of the file a byte is needed to give it its size.
Result<std::vector<Record>> records_of_hole(const Extent& extent) {
  std::vector<Record> records(1);
  auto& punch = records.front();
  punch.kind = RecordKind::kPunch;
  TRY(punch.gfid, gfid_from(extent.gfid()));
  punch.offset = extent.offset();
  punch.length = extent.hole_bytes();
  punch.time_ns = extent.time_ns();
  TRY(check_record(punch));
  if (extent.ends_file()) {
    auto end = punch;
    end.kind = RecordKind::kWrite;
    end.offset = punch.offset + punch.length - 1;
    end.length = 1;
    end.data = Buffer::copy_of(std::string(1, '\0'));
    records.push_back(std::move(end));
  }
  return records;
}

/// Collects records and gives them to the volume in batches, in order.
class Batch {
 public:
  explicit Batch(FileOps& volume) : volume_(volume) {}

  Task<Result<void>> add(Record record) {
    bytes_ += record.data.size();
    records_.push_back(std::move(record));
    if (records_.size() < kBatchRecords && bytes_ < kBatch_bytes) co_return Result<void>();
    co_return co_await flush();
  }
  Task<Result<void>> flush() {
    if (records_.empty()) co_return Result<void>();
    const OpContext inside;
    CO_TRY(co_await volume_.replay(inside, records_));
    records_.clear();
    bytes_ = 0;
    co_return Result<void>();
  }

 private:
  FileOps& volume_;
  std::vector<Record> records_;
  std::size_t bytes_ = 0;
};

/// A content that was rebuilt from a delta when it came: replaces whatever the file had.
Task<Result<void>> apply_rebuilt(Seams& seams, const Spool& spool, std::uint64_t cut, const Delta& delta,
                                 Batch& batch) {
  CO_TRY(const Gfid gfid, gfid_from(delta.gfid()));
  const auto path = spool.side_file(cut, gfid.hex());
  CO_TRY(
      auto file, co_await on_worker(seams.workers, [&] {
        return seams.disk.open(Disk::kNoDir, path, O_RDONLY | O_NOFOLLOW).with("open rebuilt file {}", path);
      }));
  Record record;
  record.gfid = gfid;
  record.time_ns = delta.time_ns();
  record.kind = RecordKind::kTruncate;
  for (const std::uint64_t size : {std::uint64_t{0}, delta.result_bytes()}) {
    record.length = size;
    CO_TRY(co_await batch.add(record));
  }
  record.kind = RecordKind::kWrite;
  std::uint64_t offset = 0;
  while (true) {
    auto piece = co_await on_worker(seams.workers, [&]() -> Result<Buffer> {
      auto data = seams.disk.seek(file.fd(), offset, SEEK_DATA);
      if (data.failed_with(ENXIO)) return Buffer();
      if (!data) return std::move(data.error()).with("read rebuilt file {}", path);
      offset = *data;
      TRY(const auto hole, seams.disk.seek(file.fd(), offset, SEEK_HOLE));
      auto buffer = Buffer::allocate(std::min<std::uint64_t>(hole - offset, kRebuiltPiece_bytes));
      TRY(const auto got,
          seams.disk.pread(file.fd(), buffer.writable(), offset).with("read rebuilt file {}", path));
      buffer.truncate(got);
      return buffer;
    });
    CO_TRY(record.data, std::move(piece));
    if (record.data.empty()) co_return Result<void>();
    record.offset = offset;
    record.length = record.data.size();
    offset += record.length;
    CO_TRY(co_await batch.add(record));
  }
}

/// What this volume has and the directory on the primary has not goes, all that is below it included.
Task<Result<void>> remove_unlisted(Seams& seams, Store& store, const Record& listed, Objects objects,
                                   Batch& batch) {
  CO_TRY(co_await batch.flush());  // names that objects have elsewhere come before
  CO_TRY(auto removals, co_await on_worker(seams.workers, [&] { return unlisted(store, listed, objects); }));
  for (auto& record : removals) {
    CO_TRY(co_await batch.add(std::move(record)));
  }
  // The next record may be the next part of the same directory.
  co_return co_await batch.flush();
}

/// The end of a rescan, or of the lists after a power loss: an object whose name another one has taken by a
/// change that no record tells of. What is gone may have hidden more of the kind.
Task<Result<void>> sweep(Seams& seams, Store& store, Batch& batch) {
  constexpr int kTurns = 4;
  for (int turn = 0; turn < kTurns; ++turn) {
    CO_TRY(co_await batch.flush());
    CO_TRY(auto removals, co_await on_worker(seams.workers, [&] { return nameless(store); }));
    if (removals.empty()) break;
    for (auto& record : removals) {
      CO_TRY(co_await batch.add(std::move(record)));
    }
  }
  co_return co_await batch.flush();
}

/// Of a rescan, before its sweep: a name that goes is gone, its object may live, whatever is known here of
/// its other names. False: the record is nothing but the end of an object.
bool keeps_object(Record& record) {
  record.last_link = false;
  return record.kind != RecordKind::kRemoved;
}

Record applied_record(const std::string& session, const AppliedState& state) {
  Record record;
  record.kind = RecordKind::kApplied;
  record.text = session;
  record.value = state.SerializeAsString();
  return record;
}

}  // namespace

Result<std::vector<Record>> records_of_frame(const SpoolFrame& frame) {
  StreamMessage message;
  if (!message.ParseFromString(frame.message))
    return Error(EUCLEAN).with("geo-replication spool: unreadable message");
  std::vector<Record> records;
  if (message.has_records()) {
    const auto& block = message.records();
    TRY(auto raw, unpack(frame.payload, block.raw_bytes()));
    TRY(records, decode_block(raw, block.count()));
  } else if (message.has_extent() && message.extent().hole_bytes() != 0) {
    TRY(records, records_of_hole(message.extent()));
  } else if (message.has_extent()) {
    TRY(auto record, record_of_extent(message.extent(), frame.payload));
    records.push_back(std::move(record));
  }
  // Here, before it is in the spool: nobody could take it out of there again.
  for (const auto& record : records) {
    auto good = check_replayable(record);
    if (!good) return Error(EPROTO).with("geo-replication: {}", good.error().message());
  }
  return records;
}

Task<Result<AppliedCut>> apply_cut(Seams& seams, Spool& spool, std::uint64_t cut, const std::string& session,
                                   FileOps& volume, Store& store) {
  CO_TRY(auto reader, co_await on_worker(seams.workers, [&] { return spool.read(cut); }));
  Batch batch(volume);
  auto objects = Objects::kGo;
  bool listed = false;
  while (true) {
    CO_TRY(auto frame, co_await on_worker(seams.workers, [&] { return reader.next(); }));
    if (!frame) co_return Error(EUCLEAN).with("geo-replication cut {} has no end", cut);
    StreamMessage message;
    if (!message.ParseFromString(frame->message))
      co_return Error(EUCLEAN).with("geo-replication cut {}: unreadable", cut);
    if (message.has_cut_begin() && message.cut_begin().keep_objects()) objects = Objects::kStay;
    if (message.has_delta()) {
      CO_TRY(co_await apply_rebuilt(seams, spool, cut, message.delta(), batch));
      continue;
    }
    CO_TRY(auto records, records_of_frame(*frame));
    for (auto& record : records) {
      if (objects == Objects::kStay && !keeps_object(record)) continue;
      if (record.kind == RecordKind::kListed) {
        CO_TRY(co_await remove_unlisted(seams, store, record, objects, batch));
        listed = true;
      } else {
        CO_TRY(co_await batch.add(std::move(record)));
      }
    }
    crash_point("georep/within-apply");
    if (!message.has_cut_end()) continue;
    if (message.cut_end().sweep() || (listed && objects == Objects::kGo)) {
      CO_TRY(co_await sweep(seams, store, batch));
    }
    auto applied = applied_record(session, message.cut_end().state());
    const auto state = *applied.value;
    CO_TRY(co_await batch.add(std::move(applied)));
    CO_TRY(co_await batch.flush());
    crash_point("georep/after-apply");
    co_return AppliedCut{state, message.cut_end().sweep()};
  }
}

}  // namespace polder::georep
