// SPDX-License-Identifier: GPL-3.0-or-later
// What is counted of each kind of operation. Plain numbers that only rise: whoever wants an interval keeps a
// copy and subtracts it.
#pragma once
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>

#include "core-volume/layer/op_kind.h"

namespace polder {

/// Counts by powers of two: bucket i has the values below lowest << i, the last one all others.
template <std::size_t kBuckets, std::uint64_t kLowest>
struct Log2Histogram {
  static_assert(std::has_single_bit(kLowest));
  static constexpr std::size_t kSize = kBuckets;
  std::array<std::uint64_t, kBuckets> counts{};

  static constexpr std::size_t bucket_of(std::uint64_t value) {
    const auto bucket = static_cast<std::size_t>(std::bit_width(value / kLowest));
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  /// First value that is not in the bucket any more. The last bucket has none.
  static constexpr std::uint64_t limit(std::size_t bucket) { return kLowest << bucket; }

  void add(std::uint64_t value) { ++counts[bucket_of(value)]; }
  std::uint64_t total() const {
    std::uint64_t sum = 0;
    for (auto count : counts) sum += count;
    return sum;
  }
  void subtract(const Log2Histogram& earlier) {
    for (std::size_t i = 0; i < kBuckets; ++i) counts[i] -= earlier.counts[i];
  }
  /// Limit of the bucket in which the smallest `share` (0..1) of the values ends; 0 without values.
  std::uint64_t quantile(double share) const {
    const auto wanted = share * static_cast<double>(total());
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      seen += counts[i];
      if (counts[i] > 0 && static_cast<double>(seen) >= wanted) return limit(i);
    }
    return 0;
  }
};

using LatencyHistogram = Log2Histogram<26, 1024>;  // nanoseconds: 1 µs to 34 s
using SizeHistogram = Log2Histogram<16, 512>;      // bytes: 512 B to 16 MiB

struct ErrnoCount {
  int code = 0;  // 0: unused; -1: all that found no place
  std::uint64_t count = 0;
};

struct OpCounters {
  static constexpr std::size_t kErrnos = 8;

  std::uint64_t count = 0;  // ended, failed ones included
  std::uint64_t errors = 0;
  std::uint64_t bytes = 0;  // of reads, writes and copies that succeeded
  std::uint64_t total_ns = 0;
  LatencyHistogram latency;
  std::array<ErrnoCount, kErrnos> by_errno{};

  void failed(int code);
  void subtract(const OpCounters& earlier);
};

struct BrickCounters {
  std::array<OpCounters, kOpKinds> ops;
  SizeHistogram read_sizes;
  SizeHistogram write_sizes;

  const OpCounters& of(OpKind kind) const { return ops[static_cast<std::size_t>(kind)]; }
  OpCounters& of(OpKind kind) { return ops[static_cast<std::size_t>(kind)]; }
  /// `earlier`: a copy made before.
  void subtract(const BrickCounters& earlier);
};

}  // namespace polder
