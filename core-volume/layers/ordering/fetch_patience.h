// SPDX-License-Identifier: GPL-3.0-or-later
// FetchPatience: whether it pays to look again for what the disk is fetching, instead of having a worker wait
// for it. With a slow disk, or a file system that does not fetch what it is asked for in passing, it does
// not: then it is tried now and then only. Loop thread only.
#pragma once
#include <algorithm>
#include <cstdint>

namespace polder {

class FetchPatience {
 public:
  bool wait_now() {
    if (skipped_ >= skip_) return true;
    ++skipped_;
    return false;
  }
  void waited(bool in_time) {
    skipped_ = 0;
    if (in_time) {
      skip_ = misses_ = 0;
    } else if (++misses_ >= kMissesMax) {
      skip_ = std::clamp(2 * skip_, kSkipMin, kSkipMax);
    }
  }

 private:
  static constexpr std::uint32_t kMissesMax = 4;  // in a row
  static constexpr std::uint32_t kSkipMin = 64, kSkipMax = 4096;

  std::uint32_t misses_ = 0, skip_ = 0, skipped_ = 0;
};

}  // namespace polder
