// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/process_facts.h"

#include <malloc.h>
#include <sys/resource.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>

namespace polder {

namespace {

/// "VmRSS:     1234 kB" of /proc/self/status; 0 when there is no such line.
std::uint64_t number_in(const std::string& status, std::string_view name) {
  auto at = status.find("\n" + std::string(name) + ":");
  if (at == std::string::npos) return 0;
  at = status.find_first_of("0123456789", at);
  if (at == std::string::npos) return 0;
  std::uint64_t number = 0;
  std::from_chars(status.data() + at, status.data() + status.size(), number);
  return number;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::uint64_t count_fds() {
  std::error_code failure;
  std::uint64_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", failure)) {
    (void)entry;
    ++count;
  }
  return count > 0 ? count - 1 : 0;  // that of the listing itself
}

}  // namespace

ProcessFacts process_facts() {
  ProcessFacts facts;
  std::ifstream file("/proc/self/status");
  const std::string status{std::istreambuf_iterator<char>(file), {}};
  facts.resident_bytes = number_in(status, "VmRSS") * 1024;
  facts.peak_resident_bytes = number_in(status, "VmHWM") * 1024;
  facts.virtual_bytes = number_in(status, "VmSize") * 1024;
  facts.threads = number_in(status, "Threads");
  facts.open_fds = count_fds();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) facts.max_fds = limit.rlim_cur;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    facts.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  const auto heap = ::mallinfo2();
  facts.heap_used_bytes = heap.uordblks;
  facts.heap_free_bytes = heap.fordblks;
  facts.mapped_bytes = heap.hblkhd;
  return facts;
}

}  // namespace polder
