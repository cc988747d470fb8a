// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/journal/segment_stream.h"

#include <algorithm>
#include <cstring>

#include "changelog/record/codec.h"

namespace polder {

namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;

SegmentStep stopped(SegmentStep::Kind kind, std::string what) {
  SegmentStep step;
  step.kind = kind;
  step.what = std::move(what);
  return step;
}

/// As what has room for records, but none. No record is all zeros, its checksum is not.
bool is_zero(ConstBytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

Result<SegmentStream> SegmentStream::open(Disk& disk, int dir, const SegmentName& name) {
  TRY(auto file,
      disk.open(dir, name.text(), O_RDONLY | O_NOFOLLOW).with("open changelog segment {}", name.text()));
  SegmentStream stream(name, name.compressed ? zstd_source(std::move(file)) : plain_source(std::move(file)));
  // No byte more: what is after the header may still be being written, and would be kept.
  TRY(auto size, stream.fill(kSegmentHeaderBytes, kSegmentHeaderBytes));
  auto header =
      decode_segment_header(stream.chunk_.bytes().first(std::min(size, std::size_t{kSegmentHeaderBytes})));
  if (!header) return damage_error({name.text(), 0, std::string(header.error().context())});
  if (header->first_index != name.first_index)
    return damage_error(
        {name.text(), 0, fmt::format("the header says that it starts at {}", header->first_index)});
  stream.header_ = *header;
  stream.next_index_ = header->first_index;
  stream.last_hlc_ = header->created;
  stream.consume(kSegmentHeaderBytes);
  return stream;
}

void SegmentStream::hash_content() {
  hash_ = std::make_unique<ContentHash>();
  hash_->update(encode_segment_header(header_));
}

Result<SegmentStep> SegmentStream::next(std::uint64_t end) {
  return step(end, true);
}

Result<SegmentStep> SegmentStream::skip_to(std::uint64_t index, std::uint64_t end) {
  SegmentStep last;
  last.kind = SegmentStep::Kind::kRecord;
  while (next_index_ < index && last.kind == SegmentStep::Kind::kRecord) {
    TRY(last, step(end, false));
  }
  return last;
}

void SegmentStream::seek(std::uint64_t index, std::uint64_t byte) {
  if (byte < byte_ || index < next_index_ || !source_->skip_to(byte)) return;
  chunk_ = {};
  at_ = 0;
  byte_ = byte;
  next_index_ = index;
}

Result<std::size_t> SegmentStream::fill(std::size_t wanted, std::uint64_t end) {
  std::size_t have = chunk_.size() - at_;
  std::uint64_t readable = end > byte_ + have ? end - (byte_ + have) : 0;
  if (have >= wanted || readable == 0) return have;
  // A new buffer each time: records that were handed out share the old one.
  auto more = std::min<std::uint64_t>(readable, std::max(wanted, kChunkBytes) - have);
  Buffer next = Buffer::allocate(have + more);
  if (have > 0) std::memcpy(next.writable().data(), chunk_.data() + at_, have);
  auto size = source_->read(next.writable().subspan(have));
  if (!size && size.error().is(EUCLEAN))
    return damage_error({name_.text(), byte_, std::string(size.error().context())});
  if (!size) return Error(size.error()).with("read changelog segment {}", name_.text());
  next.truncate(have + *size);
  chunk_ = std::move(next);
  at_ = 0;
  return chunk_.size();
}

void SegmentStream::consume(std::size_t size) {
  if (hash_) hash_->update(chunk_.bytes().subspan(at_, size));
  at_ += size;
  byte_ += size;
}

Result<SegmentStep> SegmentStream::step(std::uint64_t end, bool decode) {
  using Kind = SegmentStep::Kind;
  TRY(auto have, fill(kRecordHeaderBytes, end));
  if (is_zero(chunk_.bytes().subspan(at_, std::min(have, kRecordHeaderBytes)))) return SegmentStep{};
  if (have < kRecordHeaderBytes)
    return stopped(Kind::kIncomplete, fmt::format("record {} ends after {} bytes", next_index_, have));
  auto size = record_size(chunk_.bytes().subspan(at_));
  if (!size) return stopped(Kind::kDamaged, std::string(size.error().context()));
  TRY(have, fill(*size, end));
  if (have < *size)
    return stopped(Kind::kIncomplete,
                   fmt::format("record {} ends after {} of {} bytes", next_index_, have, *size));

  SegmentStep step;
  step.kind = Kind::kRecord;
  if (decode) {
    auto record = decode_record(chunk_.slice(at_, *size), header_.first_index);
    if (!record) return stopped(Kind::kDamaged, std::string(record.error().context()));
    if (record->index != next_index_)
      return stopped(Kind::kDamaged, fmt::format("record {} where {} must be", record->index, next_index_));
    if (record->hlc <= last_hlc_)
      return stopped(Kind::kDamaged, fmt::format("the time stamp of record {} does not rise", next_index_));
    last_hlc_ = record->hlc;
    step.record = *std::move(record);
  }
  consume(*size);
  ++next_index_;
  return step;
}

}  // namespace polder
