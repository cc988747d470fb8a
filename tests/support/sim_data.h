// SPDX-License-Identifier: GPL-3.0-or-later
// SparseData: the bytes of one simulated file, in pages that copies share until one of them changes. Holes
// cost nothing. Invariant: bytes of a page that lie past the end are zero.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "base/buffer.h"

namespace polder {

class SparseData {
 public:
  static constexpr std::uint64_t kPageBytes = 4096;
  using Page = std::array<std::byte, kPageBytes>;
  using PageRef = std::shared_ptr<const Page>;  // null: a hole

  std::uint64_t size() const { return size_; }
  const std::map<std::uint64_t, PageRef>& pages() const { return pages_; }
  PageRef page(std::uint64_t index) const;

  std::size_t read(Bytes out, std::uint64_t offset) const;
  /// `data` lies inside the page. Does not change the size.
  void write_in_page(std::uint64_t offset, ConstBytes data);
  void set_page(std::uint64_t index, PageRef page);
  /// Grows without pages. Shrinking drops pages and zeroes the rest of the last one.
  void resize(std::uint64_t size);
  /// For bytes that were written past the end.
  void grow(std::uint64_t size) { size_ = size > size_ ? size : size_; }
  /// Whole pages become holes, parts of pages zeros.
  void zero(std::uint64_t from, std::uint64_t to);

  /// First byte of data at or after `offset`; size() when there is none.
  std::uint64_t next_data(std::uint64_t offset) const;
  /// First byte of a hole at or after `offset`; the end of the file is one.
  std::uint64_t next_hole(std::uint64_t offset) const;

 private:
  void zero_in_page(std::uint64_t from, std::uint64_t to);

  std::uint64_t size_ = 0;
  std::map<std::uint64_t, PageRef> pages_;
};

}  // namespace polder
