// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_data.h"

#include <algorithm>

namespace polder {

SparseData::PageRef SparseData::page(std::uint64_t index) const {
  auto found = pages_.find(index);
  return found == pages_.end() ? nullptr : found->second;
}

std::size_t SparseData::read(Bytes out, std::uint64_t offset) const {
  if (offset >= size_) return 0;
  out = out.first(std::min<std::uint64_t>(out.size(), size_ - offset));
  std::ranges::fill(out, std::byte{});
  if (out.empty()) return 0;
  std::uint64_t last = (offset + out.size() - 1) / kPageBytes;
  for (auto at = pages_.lower_bound(offset / kPageBytes); at != pages_.end() && at->first <= last; ++at) {
    std::uint64_t page_start = at->first * kPageBytes;
    std::uint64_t from = std::max(offset, page_start);
    std::uint64_t to = std::min(offset + out.size(), page_start + kPageBytes);
    std::copy_n(at->second->begin() + (from - page_start), to - from, out.begin() + (from - offset));
  }
  return out.size();
}

void SparseData::write_in_page(std::uint64_t offset, ConstBytes data) {
  PageRef& page = pages_[offset / kPageBytes];
  auto changed = page ? std::make_shared<Page>(*page) : std::make_shared<Page>();
  std::ranges::copy(data, changed->begin() + offset % kPageBytes);
  page = std::move(changed);
}

void SparseData::set_page(std::uint64_t index, PageRef page) {
  if (page) {
    pages_[index] = std::move(page);
  } else {
    pages_.erase(index);
  }
}

void SparseData::resize(std::uint64_t size) {
  if (size < size_) zero(size, size_);
  // Pages that were punched out or never written past the end do not exist, so growing needs nothing.
  size_ = size;
}

void SparseData::zero_in_page(std::uint64_t from, std::uint64_t to) {
  auto found = pages_.find(from / kPageBytes);
  if (found == pages_.end() || from == to) return;
  auto changed = std::make_shared<Page>(*found->second);
  std::fill_n(changed->begin() + from % kPageBytes, to - from, std::byte{});
  found->second = std::move(changed);
}

void SparseData::zero(std::uint64_t from, std::uint64_t to) {
  // The end of the file ends its last page, too: what follows is zero already.
  if (to >= size_) to = (std::max(to, size_) + kPageBytes - 1) / kPageBytes * kPageBytes;
  std::uint64_t first_whole = (from + kPageBytes - 1) / kPageBytes;
  std::uint64_t end_whole = to / kPageBytes;
  if (first_whole > end_whole) return zero_in_page(from, to);
  zero_in_page(from, std::min(to, first_whole * kPageBytes));
  pages_.erase(pages_.lower_bound(first_whole), pages_.lower_bound(end_whole));
  if (to % kPageBytes != 0) zero_in_page(end_whole * kPageBytes, to);
}

std::uint64_t SparseData::next_data(std::uint64_t offset) const {
  auto found = pages_.lower_bound(offset / kPageBytes);
  if (found == pages_.end()) return size_;
  return std::min(size_, std::max(offset, found->first * kPageBytes));
}

std::uint64_t SparseData::next_hole(std::uint64_t offset) const {
  std::uint64_t index = offset / kPageBytes;
  auto found = pages_.find(index);
  while (found != pages_.end() && found->first == index) ++found, ++index;
  return std::min(size_, std::max(offset, index * kPageBytes));
}

}  // namespace polder
