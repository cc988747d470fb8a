// SPDX-License-Identifier: GPL-3.0-or-later
// Catalogue: which segments there are and how far the log may be read. Shared by the journal, which changes
// it, and its readers, which may outlive it. Any thread.
#pragma once
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "changelog/journal/segment_format.h"

namespace polder {

/// Starts of records, about one each 64 KiB: where a reader begins.
struct SeekPoint {
  std::uint64_t index = 0;
  std::uint64_t byte = 0;
};
inline constexpr std::uint64_t kSeekPointBytes = 64 * 1024;

class Catalogue {
 public:
  std::uint64_t first_index() const { return first_.load(std::memory_order_acquire); }
  std::uint64_t appended() const { return appended_.load(std::memory_order_acquire); }
  std::uint64_t stable() const { return stable_.load(std::memory_order_acquire); }
  /// Never goes back, never past appended. True when it grew.
  bool set_stable(std::uint64_t index);

  /// The segment that has `index`, or will have it.
  std::optional<SegmentInfo> find(std::uint64_t index) const;
  std::vector<SegmentInfo> list() const;  // oldest first
  SegmentInfo active() const;             // the newest. There is always one, once the journal is open
  std::uint64_t active_bytes() const { return active_bytes_.load(std::memory_order_acquire); }
  std::uint64_t stored_bytes() const;
  /// The last point at or before `index` in the segment that starts at `first_index`.
  std::optional<SeekPoint> seek_point(std::uint64_t first_index, std::uint64_t index) const;

  void add(const SegmentInfo& info, std::vector<SeekPoint> points = {});
  void update(const SegmentInfo& info);
  void drop(std::uint64_t first_index);
  /// A record of `size` bytes is complete at the end of the active segment.
  void appended_record(std::uint64_t index, Hlc hlc, std::size_t size);

 private:
  struct Entry {
    SegmentInfo info;
    std::vector<SeekPoint> points;
  };
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Entry> entries_;  // by first index
  std::atomic<std::uint64_t> first_{1}, appended_{0}, stable_{0}, active_bytes_{0};
};

}  // namespace polder
