// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/buffer.h"

#include <fmt/core.h>

#include <cstring>

#include "base/log.h"

namespace polder {

Buffer Buffer::allocate(std::size_t size_bytes) {
  Buffer buffer;
  if (size_bytes == 0) return buffer;
  buffer.storage_ = std::make_shared_for_overwrite<std::byte[]>(size_bytes);
  buffer.data_ = buffer.storage_.get();
  buffer.size_ = size_bytes;
  return buffer;
}

Buffer Buffer::copy_of(ConstBytes bytes) {
  Buffer buffer = allocate(bytes.size());
  if (!bytes.empty()) std::memcpy(buffer.data_, bytes.data(), bytes.size());
  return buffer;
}

Buffer Buffer::slice(std::size_t offset, std::size_t length) const {
  // Checked in release builds too: a slice too long would send our memory to the other side.
  if (offset > size_ || length > size_ - offset) {
    log::fatal(fmt::format("Buffer::slice({}, {}) of {} bytes", offset, length, size_));
  }
  Buffer buffer;
  if (length == 0) return buffer;
  buffer.storage_ = storage_;
  buffer.data_ = data_ + offset;
  buffer.size_ = length;
  return buffer;
}

}  // namespace polder
