// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/memory/memory_data.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace polder {

namespace {
constexpr std::uint64_t kBlock = MemoryData::kBlock_bytes;
}

Buffer MemoryData::read(std::uint64_t offset, std::uint64_t length) const {
  if (offset >= size_) return {};
  Buffer buffer = Buffer::allocate(std::min(length, size_ - offset));
  Bytes out = buffer.writable();
  while (!out.empty()) {
    const std::uint64_t within = offset % kBlock;
    const std::size_t piece = std::min<std::uint64_t>(out.size(), kBlock - within);
    auto block = blocks_.find(offset / kBlock);
    if (block == blocks_.end())
      std::memset(out.data(), 0, piece);
    else
      std::memcpy(out.data(), block->second->data() + within, piece);
    out = out.subspan(piece);
    offset += piece;
  }
  return buffer;
}

void MemoryData::write(std::uint64_t offset, ConstBytes data) {
  size_ = std::max(size_, offset + data.size());
  while (!data.empty()) {
    const std::uint64_t within = offset % kBlock;
    const std::size_t piece = std::min<std::uint64_t>(data.size(), kBlock - within);
    auto& block = blocks_[offset / kBlock];
    if (!block) block = std::make_unique<Block>();  // value-initialised: zeros
    std::memcpy(block->data() + within, data.data(), piece);
    data = data.subspan(piece);
    offset += piece;
  }
}

void MemoryData::resize(std::uint64_t size) {
  if (size < size_) punch(size, size_ - size);
  size_ = size;
}

void MemoryData::punch(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  auto at = blocks_.lower_bound(offset / kBlock);
  while (at != blocks_.end() && at->first * kBlock < end) {
    const std::uint64_t start = at->first * kBlock;
    const std::uint64_t from = std::max(offset, start), to = std::min(end, start + kBlock);
    // A last block that is cut by the end of the file counts as whole.
    if (from == start && (to == start + kBlock || to >= size_)) {
      at = blocks_.erase(at);
    } else {
      std::memset(at->second->data() + (from - start), 0, to - from);
      ++at;
    }
  }
}

Result<std::uint64_t> MemoryData::seek(std::uint64_t offset, int whence) const {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return Error(EINVAL);
  if (offset >= size_) return Error(ENXIO);
  auto at = blocks_.lower_bound(offset / kBlock);
  if (whence == SEEK_DATA) {
    if (at == blocks_.end()) return Error(ENXIO);
    return std::max(offset, at->first * kBlock);
  }
  std::uint64_t index = offset / kBlock;
  for (; at != blocks_.end() && at->first == index; ++at) ++index;
  return std::min(size_, std::max(offset, index * kBlock));
}

void MemoryData::copy(const MemoryData& from, std::uint64_t offset, std::uint64_t to_offset,
                      std::uint64_t length) {
  size_ = std::max(size_, to_offset + length);
  punch(to_offset, length);
  const std::uint64_t end = offset + length;
  std::uint64_t at = offset;
  while (at < end) {
    Result<std::uint64_t> data = from.seek(at, SEEK_DATA);
    if (!data || *data >= end) return;
    const std::uint64_t piece = std::min(end - *data, kBlock - *data % kBlock);
    Buffer bytes = from.read(*data, piece);  // a copy: `from` may be this
    write(to_offset + (*data - offset), bytes.bytes());
    at = *data + piece;
  }
}

}  // namespace polder
