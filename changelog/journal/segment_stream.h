// SPDX-License-Identifier: GPL-3.0-or-later
// SegmentStream: the records of one segment in order, each checked; and where they stop.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "changelog/journal/segment_format.h"
#include "changelog/journal/segment_source.h"

namespace polder {

/// What follows in a segment.
struct SegmentStep {
  enum class Kind {
    kRecord,
    kEnd,         // exactly after a record; zeros may follow, which are room for more
    kIncomplete,  // the bytes end inside a record
    kDamaged,     // these bytes are not the record that must be here
  };
  Kind kind = Kind::kEnd;
  Record record;
  std::string what;  // of kIncomplete and kDamaged
};

class SegmentStream {
 public:
  /// Opens the file and reads the header. ENOENT; EUCLEAN as damage_error().
  static Result<SegmentStream> open(Disk& disk, int dir, const SegmentName& name);

  const SegmentHeader& header() const { return header_; }
  const SegmentName& name() const { return name_; }
  /// Feeds the content to a hash while it is read. Before the first step.
  void hash_content();
  const ContentHash& hash() const { return *hash_; }
  ContentHash take_hash() { return std::move(*hash_); }

  /// Reads no byte at or past `end` (of the content). After kRecord it can go on; otherwise it stays where it
  /// is, and asking again after the file has grown is fine. An error is one of the disk.
  Result<SegmentStep> next(std::uint64_t end = UINT64_MAX);
  /// The same without decoding and checksums: for a start in the middle. Stops before the record `index`.
  Result<SegmentStep> skip_to(std::uint64_t index, std::uint64_t end = UINT64_MAX);
  /// `byte` is the start of record `index`; a shortcut which compressed segments do not have.
  void seek(std::uint64_t index, std::uint64_t byte);

  std::uint64_t byte() const { return byte_; }  // where the next record starts
  std::uint64_t next_index() const { return next_index_; }
  Hlc last_hlc() const { return last_hlc_; }  // of the last record read, else the segment's `created`

 private:
  SegmentStream(SegmentName name, std::unique_ptr<SegmentSource> source)
      : name_(name), source_(std::move(source)) {}
  /// Makes `wanted` bytes available if there are so many; returns how many there are.
  Result<std::size_t> fill(std::size_t wanted, std::uint64_t end);
  Result<SegmentStep> step(std::uint64_t end, bool decode);
  void consume(std::size_t size);

  SegmentName name_;
  std::unique_ptr<SegmentSource> source_;
  SegmentHeader header_;
  std::unique_ptr<ContentHash> hash_;
  Buffer chunk_;
  std::size_t at_ = 0;  // in chunk_
  std::uint64_t byte_ = 0;
  std::uint64_t next_index_ = 1;
  Hlc last_hlc_;
};

}  // namespace polder
