// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/journal/catalogue.h"

#include <algorithm>
#include <iterator>

namespace polder {

bool Catalogue::set_stable(std::uint64_t index) {
  std::lock_guard lock(mutex_);
  if (index <= stable_) return false;
  stable_.store(index, std::memory_order_release);
  return true;
}

std::optional<SegmentInfo> Catalogue::find(std::uint64_t index) const {
  std::lock_guard lock(mutex_);
  auto after = entries_.upper_bound(index);
  if (after == entries_.begin()) return std::nullopt;
  return std::prev(after)->second.info;
}

std::vector<SegmentInfo> Catalogue::list() const {
  std::lock_guard lock(mutex_);
  std::vector<SegmentInfo> all;
  for (const auto& [first, entry] : entries_) all.push_back(entry.info);
  return all;
}

SegmentInfo Catalogue::active() const {
  std::lock_guard lock(mutex_);
  return entries_.rbegin()->second.info;
}

std::uint64_t Catalogue::stored_bytes() const {
  std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [first, entry] : entries_) sum += entry.info.stored_bytes;
  return sum;
}

std::optional<SeekPoint> Catalogue::seek_point(std::uint64_t first_index, std::uint64_t index) const {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(first_index);
  if (found == entries_.end()) return std::nullopt;
  const auto& points = found->second.points;
  auto after = std::ranges::upper_bound(points, index, {}, &SeekPoint::index);
  if (after == points.begin()) return std::nullopt;
  return *std::prev(after);
}

void Catalogue::add(const SegmentInfo& info, std::vector<SeekPoint> points) {
  std::lock_guard lock(mutex_);
  entries_[info.first_index] = {info, std::move(points)};
  first_.store(entries_.begin()->first, std::memory_order_release);
  const SegmentInfo& newest = entries_.rbegin()->second.info;
  active_bytes_.store(newest.bytes, std::memory_order_release);
  appended_.store(newest.last_index, std::memory_order_release);
}

void Catalogue::update(const SegmentInfo& info) {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(info.first_index);
  if (found != entries_.end()) found->second.info = info;
}

void Catalogue::drop(std::uint64_t first_index) {
  std::lock_guard lock(mutex_);
  entries_.erase(first_index);
  if (!entries_.empty()) first_.store(entries_.begin()->first, std::memory_order_release);
}

void Catalogue::appended_record(std::uint64_t index, Hlc hlc, std::size_t size) {
  std::lock_guard lock(mutex_);
  Entry& entry = entries_.rbegin()->second;
  SegmentInfo& info = entry.info;
  if (info.records() == 0) info.first_hlc = hlc;
  info.last_hlc = hlc;
  info.last_index = index;
  auto last_point = entry.points.empty() ? 0 : entry.points.back().byte;
  if (info.bytes >= last_point + kSeekPointBytes) entry.points.push_back({index, info.bytes});
  info.bytes += size;
  info.stored_bytes = info.bytes;
  active_bytes_.store(info.bytes, std::memory_order_release);
  appended_.store(index, std::memory_order_release);
}

}  // namespace polder
