// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/start_log.h"

#include <algorithm>

#include "core-volume/layer/no_room.h"
#include "core-volume/layer/posix_rules.h"

namespace polder {
namespace {

constexpr std::uint64_t kInLog_bytes = 256 << 10;  // files up to this size travel in the log …
constexpr std::uint64_t kPiece_bytes = 4096;

}  // namespace

Result<void> OrderingLayer::StartLog::commit(Record& record) {
  auto done = layer_.commit(record);
  if (done || !is_no_room(done.error()) || !layer_.reserve_.release()) return done;
  return layer_.commit(record);
}

/// A ctime from a time to come is one that somebody has chosen as mtime, of an object that was half changed.
Result<void> OrderingLayer::StartLog::state(RecordKind kind, const Gfid& gfid, const ObjectState& state,
                                            const timespec& ctime) {
  auto record = begin(kind, gfid);
  record.time_ns = std::min(time_to_ns(ctime), record.hlc.ns);
  record.state = state;
  return commit(record);
}

Result<void> OrderingLayer::StartLog::content(const Gfid& gfid, std::uint64_t size, const timespec& mtime,
                                              std::vector<Extent> changed) {
  auto record = begin(RecordKind::kTruncate, gfid);
  record.time_ns = time_to_ns(mtime);
  record.length = size;
  TRY(commit(record));
  if (size <= std::min(kInLog_bytes, room_in_log_)) {
    room_in_log_ -= size;
    return all_bytes(gfid, size, record.time_ns);
  }
  std::ranges::sort(changed, {}, &Extent::begin);
  for (auto at = changed.begin(); at != changed.end() && at->begin < size;) {
    auto write = begin(RecordKind::kWrite, gfid);
    write.time_ns = record.time_ns;
    write.offset = at->begin;
    auto end = at->end;
    for (++at; at != changed.end() && at->begin <= end; ++at) end = std::max(end, at->end);
    write.length = std::min(end, size) - write.offset;
    TRY(commit(write));
  }
  return {};
}

/// Data and holes in turn.
Result<void> OrderingLayer::StartLog::all_bytes(const Gfid& gfid, std::uint64_t size,
                                                std::uint64_t mtime_ns) {
  for (std::uint64_t at = 0; at < size;) {
    auto found = store_.seek(gfid, at, SEEK_DATA);
    if (found.failed_with(ENXIO)) found = size;
    TRY(auto end, std::move(found));
    const bool is_hole = end > at;
    if (!is_hole) {
      TRY(end, store_.seek(gfid, at, SEEK_HOLE));
    }
    end = std::min(end, size);
    auto record = begin(is_hole ? RecordKind::kPunch : RecordKind::kWrite, gfid);
    record.time_ns = mtime_ns;
    record.offset = at;
    TRY(is_hole ? hole(std::move(record), end - at) : data(std::move(record), end - at));
    at = end;
  }
  return {};
}

Result<void> OrderingLayer::StartLog::hole(Record record, std::uint64_t length) {
  record.keep_size = true;
  record.length = length;
  return commit(record);
}

Result<void> OrderingLayer::StartLog::data(Record record, std::uint64_t length) {
  for (const auto end = record.offset + length; record.offset < end; record.offset += record.length) {
    record.length = std::min(end - record.offset, kPiece_bytes);
    TRY(record.data, store_.read(record.gfid, record.offset, static_cast<std::uint32_t>(record.length)));
    if (record.data.size() != record.length)
      return Error(EIO).with("read at {}: it has ended", record.offset);
    record.hlc = layer_.seams_.hlc.next();
    TRY(commit(record));
  }
  return {};
}

}  // namespace polder
