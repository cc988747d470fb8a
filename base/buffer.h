// SPDX-License-Identifier: GPL-3.0-or-later
// Buffer: shared, immutable payload bytes. Sliced and passed on, never copied to be framed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace polder {

using ConstBytes = std::span<const std::byte>;
using Bytes = std::span<std::byte>;

inline ConstBytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Buffer {
 public:
  Buffer() = default;
  /// Uninitialised; the caller fills `writable()` before it hands copies on.
  static Buffer allocate(std::size_t size_bytes);
  static Buffer copy_of(ConstBytes bytes);
  static Buffer copy_of(std::string_view text) { return copy_of(as_bytes(text)); }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::byte* data() const { return data_; }
  ConstBytes bytes() const { return {data_, size_}; }
  std::string_view text() const { return as_text(bytes()); }
  /// Only while no other Buffer shares the storage.
  Bytes writable() { return {data_, size_}; }
  /// Shares the storage. offset + length <= size().
  Buffer slice(std::size_t offset, std::size_t length) const;
  void truncate(std::size_t size_bytes) { size_ = size_bytes < size_ ? size_bytes : size_; }

 private:
  std::shared_ptr<std::byte[]> storage_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace polder
