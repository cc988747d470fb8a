// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernel and the allocator say about this process.
#pragma once
#include <cstdint>

namespace polder {

struct ProcessFacts {
  std::uint64_t resident_bytes = 0;
  std::uint64_t peak_resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t threads = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
  double cpu_seconds = 0;  // user and system
  std::uint64_t heap_used_bytes = 0;
  std::uint64_t heap_free_bytes = 0;  // kept by the allocator
  std::uint64_t mapped_bytes = 0;     // large blocks, straight from the kernel
};

/// Blocks for some tens of microseconds: /proc is memory.
ProcessFacts process_facts();

}  // namespace polder
