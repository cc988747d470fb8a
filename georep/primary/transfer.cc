// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/primary/transfer.h"

#include "base/clock.h"
#include "base/concurrency_impl.h"
#include "base/coro.h"
#include "base/on_worker.h"
#include "georep/protocol/delta.h"
#include "georep/protocol/record_block.h"
#include "proto/georep.pb.h"

namespace polder::georep {

namespace {

using namespace std::chrono_literals;
constexpr auto kAnswerLimit = 60s;
// A delta that saves less than this is not worth rebuilding the file for.
constexpr double kWorthwhile = 0.9;

struct Piece {
  std::uint64_t offset = 0;
  std::uint64_t raw_bytes = 0;
  Buffer payload;
  std::uint64_t hole_bytes = 0;  // instead of data
  bool ends_file = false;
};

/// What of the hole [offset, end) is inside of the file. Bytes that were written there may have been punched
/// since, and a copied hole has replaced what was there.
Result<std::optional<Piece>> hole_piece(Store& store, const Gfid& gfid, std::uint64_t offset,
                                        std::uint64_t end) {
  std::optional<Piece> none;
  auto attr = store.attr(gfid);
  if (attr.failed_with(ESTALE)) return none;
  TRY(const auto file, std::move(attr));
  end = std::min(end, file.size);
  if (end <= offset) return none;
  return std::optional(Piece{offset, 0, {}, end - offset, end == file.size});
}

/// The next data of an object within [offset, end), read and packed, or the hole before them; nullopt: there
/// is no more, or the object is gone. Blocks.
Result<std::optional<Piece>> next_piece(Store& store, const Gfid& gfid, std::uint64_t offset,
                                        std::uint64_t end, bool with_holes) {
  std::optional<Piece> none;
  auto data = store.seek(gfid, offset, SEEK_DATA);
  if (data.failed_with(ESTALE)) return none;
  if (data.failed_with(ENXIO)) data = end;
  TRY(const auto begin, std::move(data));
  if (begin > offset && with_holes) return hole_piece(store, gfid, offset, std::min(begin, end));
  if (begin >= end) return none;
  auto hole = store.seek(gfid, begin, SEEK_HOLE);
  if (hole.failed_with(ENXIO) || hole.failed_with(ESTALE)) return none;
  TRY(const auto stop, std::move(hole));
  const auto length = std::min<std::uint64_t>({stop - begin, end - begin, kPiece_bytes});
  auto raw = store.read(gfid, begin, static_cast<std::uint32_t>(length));
  if (raw.failed_with(ESTALE)) return none;
  TRY(auto bytes, std::move(raw));
  if (bytes.empty()) return none;
  const auto raw_bytes = bytes.size();
  return std::optional(Piece{begin, raw_bytes, pack(std::move(bytes)), 0, false});
}

struct MadeDelta {
  DiskFile file;
  std::uint64_t delta_bytes = 0;
  std::uint64_t content_bytes = 0;
  std::string hash;
};

/// The delta of the object as it is now, in a nameless file. Blocks.
Result<MadeDelta> make_delta_file(Disk& disk, Store& store, const Gfid& gfid, ConstBytes signature,
                                  const std::string& directory) {
  MadeDelta made;
  TRY(made.file,
      disk.open(Disk::kNoDir, directory, O_RDWR | O_TMPFILE, 0600).with("temporary file in {}", directory));
  ContentHash hash;
  auto content = [&](Bytes out, std::uint64_t offset) -> Result<std::size_t> {
    TRY(auto bytes, store.read(gfid, offset, static_cast<std::uint32_t>(out.size())));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    hash.update(bytes.bytes());
    made.content_bytes += bytes.size();
    return bytes.size();
  };
  TRY(make_delta(signature, content, [&](ConstBytes bytes) -> Result<void> {
    TRY(disk.pwrite(made.file.fd(), bytes, made.delta_bytes).with("write delta in {}", directory));
    made.delta_bytes += bytes.size();
    return {};
  }));
  made.hash = hash.digest();
  return made;
}

}  // namespace

Task<Result<StreamFrame>> Answers::wait_for_signature(Clock& clock) {
  const auto deadline = clock.boot_time() + kAnswerLimit;
  while (!signature_) {
    if (ended_) co_return Error(ECONNRESET);
    CO_TRY(co_await with_deadline(clock, deadline, arrived_.wait()));
  }
  auto frame = std::move(*signature_);
  signature_.reset();
  co_return frame;
}

Task<Result<bool>> Answers::wait_for_delta_result(Clock& clock) {
  const auto deadline = clock.boot_time() + kAnswerLimit;
  while (!delta_result_) {
    if (ended_) co_return Error(ECONNRESET);
    CO_TRY(co_await with_deadline(clock, deadline, arrived_.wait()));
  }
  const bool ok = *delta_result_;
  delta_result_.reset();
  co_return ok;
}

void Answers::signature(StreamFrame frame) {
  signature_ = std::move(frame);
  arrived_.notify_all();
}
void Answers::delta_result(bool ok) {
  delta_result_ = ok;
  arrived_.notify_all();
}
void Answers::end() {
  ended_ = true;
  arrived_.notify_all();
}

Task<Result<void>> Transfer::send_items(std::uint64_t cut, const CutPlan& plan, const ResumePoint& resume) {
  const bool resumed = resume.index != 0 || resume.extent_index != 0;
  const std::uint64_t begun_at = resumed ? std::max(resume.index + 1, resume.extent_index) : 0;
  for (const auto& item : plan.items) {
    if (const auto* range = std::get_if<RecordsItem>(&item)) {
      auto records = std::span(plan.records).subspan(range->first, range->count);
      while (!records.empty() && records.front().index < begun_at) records = records.subspan(1);
      CO_TRY(co_await send_records(cut, records));
    } else if (const auto* extent = std::get_if<ExtentItem>(&item)) {
      if (extent->index < begun_at) continue;
      CO_TRY(co_await send_extent(cut, *extent, resume));
    } else if (const auto& delta = std::get<DeltaItem>(item); delta.index >= begun_at) {
      CO_TRY(co_await send_delta(cut, delta));
    }
  }
  co_return Result<void>();
}

Task<Result<void>> Transfer::send_records(std::uint64_t cut, std::span<const Record> records) {
  while (!records.empty()) {
    std::size_t count = 0;
    std::size_t bytes = 0;
    while (count < records.size() && bytes < kPiece_bytes) bytes += 128 + records[count++].data.size();
    const auto some = records.first(count);
    records = records.subspan(count);
    StreamMessage message;
    auto& block = *message.mutable_records();
    block.set_cut(cut);
    block.set_count(static_cast<std::uint32_t>(count));
    set_position(block.mutable_last(), at(some.back().index), some.back().hlc);
    CO_TRY(auto raw, encode_block(some));
    block.set_raw_bytes(raw.size());
    auto payload = co_await on_worker(seams_.workers, [&] { return pack(std::move(raw)); });
    stream_.send(message, payload);
    ++frames_;
    CO_TRY(co_await stream_.wait_for_room());
  }
  co_return Result<void>();
}

Task<Result<void>> Transfer::send_extent(std::uint64_t cut, const ExtentItem& extent,
                                         const ResumePoint& resume) {
  std::uint64_t offset = extent.offset;
  const std::uint64_t end = extent.offset + extent.length;
  if (extent.index == resume.extent_index && extent.gfid == resume.extent_gfid)
    offset = std::max(offset, resume.extent_end);
  while (offset < end) {
    CO_TRY(auto piece, co_await on_worker(seams_.workers, [&] {
             return next_piece(store_, extent.gfid, offset, end, extent.with_holes);
           }));
    if (!piece) break;
    StreamMessage message;
    auto& out = *message.mutable_extent();
    out.set_cut(cut);
    set_position(out.mutable_at(), at(extent.index));
    out.set_gfid(gfid_bytes(extent.gfid));
    out.set_offset(piece->offset);
    out.set_raw_bytes(piece->raw_bytes);
    out.set_time_ns(extent.time_ns);
    out.set_hole_bytes(piece->hole_bytes);
    out.set_ends_file(piece->ends_file);
    stream_.send(message, piece->payload);
    ++frames_;
    offset = piece->offset + piece->raw_bytes + piece->hole_bytes;
    CO_TRY(co_await stream_.wait_for_room());
  }
  co_return Result<void>();
}

Task<Result<void>> Transfer::send_delta(std::uint64_t cut, const DeltaItem& item) {
  CO_TRY(const bool done, co_await try_delta(cut, item));
  if (done) co_return Result<void>();
  for (auto extent : item.extents) {
    extent.index = item.index;  // in this place of the cut, so that indexes still rise
    CO_TRY(co_await send_extent(cut, extent, {}));
  }
  co_return Result<void>();
}

/// False: no basis, not worthwhile, or the result did not match; the extents must be sent.
Task<Result<bool>> Transfer::try_delta(std::uint64_t cut, const DeltaItem& item) {
  StreamMessage request;
  request.mutable_signature_request()->set_gfid(gfid_bytes(item.basis));
  stream_.send(request);
  CO_TRY(auto signature, co_await answers_.wait_for_signature(seams_.clock));
  if (signature.message->signature().absent()) co_return false;
  auto made = co_await on_worker(seams_.workers, [&] {
    return make_delta_file(seams_.disk, store_, item.gfid, signature.payload.bytes(), scratch_directory_);
  });
  // A signature that is of no use is no reason to stop: the content may be such that it has no better one.
  if (made.failed_with(ESTALE) || made.failed_with(EPROTO)) co_return false;
  CO_TRY(auto delta, std::move(made));
  if (static_cast<double>(delta.delta_bytes) > kWorthwhile * static_cast<double>(delta.content_bytes))
    co_return false;
  co_return co_await send_delta_file(cut, item, delta.file, delta.delta_bytes, delta.content_bytes,
                                     delta.hash);
}

Task<Result<bool>> Transfer::send_delta_file(std::uint64_t cut, const DeltaItem& item, DiskFile& file,
                                             std::uint64_t delta_bytes, std::uint64_t content_bytes,
                                             const std::string& hash) {
  for (std::uint64_t offset = 0; offset < delta_bytes;) {
    auto raw = Buffer::allocate(std::min<std::uint64_t>(kPiece_bytes, delta_bytes - offset));
    const auto raw_bytes = raw.size();
    CO_TRY(auto payload, co_await on_worker(seams_.workers, [&]() -> Result<Buffer> {
             TRY(seams_.disk.pread(file.fd(), raw.writable(), offset).with("read delta"));
             return pack(std::move(raw));
           }));
    offset += raw_bytes;
    StreamMessage message;
    auto& delta = *message.mutable_delta();
    delta.set_cut(cut);
    set_position(delta.mutable_at(), at(item.index));
    delta.set_gfid(gfid_bytes(item.gfid));
    delta.set_basis(gfid_bytes(item.basis));
    delta.set_raw_bytes(raw_bytes);
    delta.set_time_ns(item.time_ns);
    if (offset == delta_bytes) {
      delta.set_last(true);
      delta.set_result_bytes(content_bytes);
      delta.set_result_xxh3_128(hash);
    }
    stream_.send(message, payload);
    ++frames_;
    CO_TRY(co_await stream_.wait_for_room());
  }
  co_return co_await answers_.wait_for_delta_result(seams_.clock);
}

}  // namespace polder::georep
