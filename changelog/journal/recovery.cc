// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/journal/recovery.h"

#include <algorithm>

#include "changelog/record/codec.h"

namespace polder {

namespace {

/// As much of what is behind the records as one record can take, and one more: a damaged file goes on for any
/// length.
constexpr std::uint64_t kTailMax_bytes = 2 * (kRecordHeaderBytes + kRecordBodyMaxBytes);
/// So much is checksummed in search of a later record. Data of users can be full of what looks like headers
/// of long records; without a limit each would be read to its end.
constexpr std::uint64_t kSearchMax_bytes = 64 * kRecordBodyMaxBytes;
constexpr std::uint64_t kReadBytes = 1u << 20;

/// A sound record of this segment, later than `index`, anywhere in `bytes`? Also when that takes too long to
/// find out: what is torn off must be torn for certain.
bool may_hold_later_record(const Buffer& bytes, std::uint64_t first_index, std::uint64_t index) {
  std::uint64_t searched_bytes = 0;
  for (std::size_t at = 1; at + kRecordHeaderBytes <= bytes.size(); ++at) {
    auto size = record_size(bytes.bytes().subspan(at));
    if (!size || *size > bytes.size() - at) continue;
    auto record = decode_record(bytes.slice(at, *size), first_index);
    if (record && record->index > index) return true;
    searched_bytes += *size;
    if (searched_bytes > kSearchMax_bytes) return true;
  }
  return false;
}

Result<DiskFile> open_segment(Disk& disk, int dir, const SegmentInfo& info) {
  const std::string name = info.name().text();
  return disk.open(dir, name, O_RDONLY | O_NOFOLLOW).with("open changelog segment {}", name);
}

Result<Buffer> read_tail(const DiskFile& file, const SegmentInfo& info) {
  Buffer tail = Buffer::allocate(std::min(info.stored_bytes - info.bytes, kTailMax_bytes));
  TRY(auto size, file.disk()
                     .pread(file.fd(), tail.writable(), info.bytes)
                     .with("read changelog segment {}", info.name().text()));
  tail.truncate(size);
  return tail;
}

/// Of what is behind the records, how much is before the zeros at the end.
Result<std::uint64_t> used_bytes(const DiskFile& file, const SegmentInfo& info) {
  std::vector<std::byte> chunk(std::min(kReadBytes, info.stored_bytes - info.bytes));
  std::uint64_t used = 0;
  for (std::uint64_t at = info.bytes; at < info.stored_bytes;) {
    auto data = file.disk().seek(file.fd(), at, SEEK_DATA);
    if (data.failed_with(ENXIO)) break;  // a hole to the end
    TRY(at, std::move(data).with("read changelog segment {}", info.name().text()));
    if (at >= info.stored_bytes) break;
    const auto wanted = std::min<std::uint64_t>(chunk.size(), info.stored_bytes - at);
    TRY(auto size, file.disk()
                       .pread(file.fd(), Bytes(chunk).first(wanted), at)
                       .with("read changelog segment {}", info.name().text()));
    for (std::size_t i = size; i > 0; --i) {
      if (chunk[i - 1] == std::byte{0}) continue;
      used = at + i - info.bytes;
      break;
    }
    if (size < wanted) break;
    at += size;
  }
  return used;
}

/// Whether what follows the records is the next one: somebody is appending while we read.
bool goes_on(const Buffer& tail, const SegmentInfo& info) {
  const auto size = record_size(tail.bytes());
  if (!size || *size > tail.size()) return false;
  const auto record = decode_record(tail.slice(0, *size), info.first_index);
  return record && record->index == info.last_index + 1;
}

/// Where the records of a plain segment stop, in the light of the zeros that follow. A record that reaches
/// into them is one that was not written to its end; what is not zero behind the last record is no room.
Result<void> judge_end(Disk& disk, int dir, ScannedSegment& scanned) {
  const SegmentInfo& info = scanned.info;
  // Less than a header: its file was being made.
  if (info.compressed || info.bytes >= info.stored_bytes) return {};
  TRY(auto file, open_segment(disk, dir, info));
  TRY(auto tail, read_tail(file, info));
  TRY(const auto used, used_bytes(file, info));
  scanned.zeros = info.stored_bytes - info.bytes - used;
  if (used == 0) {
    scanned.stop.reset();
    return {};
  }
  if (!scanned.stop) {
    if (goes_on(tail, info)) return {};
    scanned.stop.emplace();
    scanned.stop->kind = SegmentStep::Kind::kDamaged;
    scanned.stop->what = fmt::format("zeros instead of record {}", info.last_index + 1);
  }
  const auto wanted = record_size(tail.bytes());
  if (scanned.zeros > 0 && (used < kRecordHeaderBytes || (wanted && *wanted > used)))
    scanned.stop->kind = SegmentStep::Kind::kIncomplete;
  return {};
}

}  // namespace

Result<DirectoryListing> list_segments(Disk& disk, int dir) {
  DirectoryListing listing;
  TRY(auto entries, disk.list(dir).with("list the changelog's directory"));
  for (const DirEntry& entry : entries) {
    if (entry.name.ends_with(".tmp")) listing.temporaries.push_back(entry.name);
    auto name = parse_segment_name(entry.name);
    if (!name) continue;
    auto [found, fresh] = listing.segments.emplace(name->first_index, *name);
    if (fresh) continue;
    // Compressed files get their names complete and synced; the plain one is what was not yet removed.
    found->second.compressed = true;
    listing.superseded.push_back(SegmentName{name->first_index, false}.text());
  }
  return listing;
}

Result<ScannedSegment> scan_segment(Disk& disk, int dir, const SegmentName& name) {
  TRY(auto status, disk.stat(dir, name.text()).with("look at changelog segment {}", name.text()));
  TRY(auto stream, SegmentStream::open(disk, dir, name));
  stream.hash_content();
  ScannedSegment scanned;
  scanned.header = stream.header();
  SegmentInfo& info = scanned.info;
  info.first_index = name.first_index;
  info.first_hlc = stream.header().created;
  info.term = stream.header().identity.term;
  info.compressed = name.compressed;
  info.stored_bytes = static_cast<std::uint64_t>(status.st_size);
  // What is appended while we read belongs to the next look: size and content must fit together.
  const std::uint64_t end = name.compressed ? UINT64_MAX : info.stored_bytes;
  std::uint64_t next_point = kSeekPointBytes;
  while (true) {
    if (stream.byte() >= next_point) {
      scanned.points.push_back({stream.next_index(), stream.byte()});
      next_point = stream.byte() + kSeekPointBytes;
    }
    TRY(auto step, stream.next(end));
    if (step.kind == SegmentStep::Kind::kRecord) {
      if (step.record.index == info.first_index) info.first_hlc = step.record.hlc;
      continue;
    }
    if (step.kind != SegmentStep::Kind::kEnd) scanned.stop = std::move(step);
    break;
  }
  info.last_index = stream.next_index() - 1;
  info.last_hlc = stream.last_hlc();
  info.bytes = stream.byte();
  scanned.hash = stream.take_hash();
  TRY(judge_end(disk, dir, scanned));
  return scanned;
}

Result<void> check_torn_tail(Disk& disk, int dir, const ScannedSegment& scanned,
                             const TailEvidence& evidence) {
  const SegmentInfo& info = scanned.info;
  auto damaged = [&] { return damage_error({info.name().text(), info.bytes, scanned.stop->what}); };
  if (info.compressed || info.last_index < evidence.proven_index) return damaged();
  if (scanned.header.boot_id != evidence.boot_id) return {};
  if (scanned.stop->kind != SegmentStep::Kind::kIncomplete) return damaged();
  // A length that was hit by damage also looks like a record that is not all there.
  if (info.stored_bytes - scanned.zeros - info.bytes > kRecordHeaderBytes + kRecordBodyMaxBytes)
    return damaged();
  TRY(auto file, open_segment(disk, dir, info));
  TRY(auto tail, read_tail(file, info));
  if (may_hold_later_record(tail, info.first_index, info.last_index + 1)) return damaged();
  return {};
}

Result<void> check_contiguous(const SegmentInfo& previous, const SegmentInfo& next) {
  if (previous.last_index + 1 != next.first_index)
    return damage_error({previous.name().text(), previous.bytes,
                         fmt::format("ends with record {}, but the next segment {} starts with {}",
                                     previous.last_index, next.name().text(), next.first_index)});
  if (next.term < previous.term)
    return damage_error(
        {next.name().text(), 0, fmt::format("is of term {} after term {}", next.term, previous.term)});
  return {};
}

}  // namespace polder
