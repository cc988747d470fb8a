// SPDX-License-Identifier: GPL-3.0-or-later
// The content of one segment as a stream of bytes, whether it is compressed on disk or not.
#pragma once
#include <memory>

#include "base/disk.h"

namespace polder {

class SegmentSource {
 public:
  virtual ~SegmentSource() = default;
  /// The next bytes; fewer than asked for only at the end (of a plain file: its end now). EUCLEAN for damage
  /// of the compression.
  virtual Result<std::size_t> read(Bytes out) = 0;
  /// Goes on at `byte`, which is not before the place reached. EINVAL where that is impossible: read on.
  virtual Result<void> skip_to(std::uint64_t byte) = 0;
};

std::unique_ptr<SegmentSource> plain_source(DiskFile file);
std::unique_ptr<SegmentSource> zstd_source(DiskFile file);

class ContentHash;

/// Compresses the first `from_bytes` of `from` into `to`, one zstd frame with a checksum; `hash` gets what
/// was read. Returns the bytes written.
Result<std::uint64_t> compress_file(const DiskFile& from, std::uint64_t from_bytes, const DiskFile& to,
                                    ContentHash& hash);

}  // namespace polder
