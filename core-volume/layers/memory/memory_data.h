// SPDX-License-Identifier: GPL-3.0-or-later
// MemoryData: the bytes of a file in memory. Holes cost nothing, and are as coarse as a file system's blocks.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "base/buffer.h"
#include "base/result.h"

namespace polder {

class MemoryData {
 public:
  static constexpr std::uint64_t kBlock_bytes = 4096;

  std::uint64_t size() const { return size_; }
  std::uint64_t allocated_bytes() const { return blocks_.size() * kBlock_bytes; }

  /// Fewer bytes than asked only at the end.
  Buffer read(std::uint64_t offset, std::uint64_t length) const;
  /// Grows the file where needed.
  void write(std::uint64_t offset, ConstBytes data);
  void resize(std::uint64_t size);
  /// Zeros within the size; whole blocks become holes.
  void punch(std::uint64_t offset, std::uint64_t length);
  /// SEEK_DATA or SEEK_HOLE, as lseek(2): ENXIO at or past the end, EINVAL for other `whence`.
  Result<std::uint64_t> seek(std::uint64_t offset, int whence) const;
  /// Bytes and holes of [offset, offset + length) of `from` to `to_offset` here. `from` may be *this if the
  /// ranges do not overlap.
  void copy(const MemoryData& from, std::uint64_t offset, std::uint64_t to_offset, std::uint64_t length);

 private:
  using Block = std::array<std::byte, kBlock_bytes>;

  std::uint64_t size_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Block>> blocks_;  // by index; bytes past size_ are zero
};

}  // namespace polder
