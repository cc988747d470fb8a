// SPDX-License-Identifier: GPL-3.0-or-later
// WriteLog: what the kernel's dm-log-writes target has written to its log device: every write, flush and mark
// in the order in which they became durable. Writes that a flush covers stand before it; what no flush
// covered by the time of a power loss may or may not be there.
//
// Format: Documentation/admin-guide/device-mapper/log-writes.rst and dm-log-writes.c of Linux.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/disk.h"

namespace polder {

struct LoggedWrite {
  std::uint64_t offset = 0;  // bytes, on the device that was logged
  std::uint64_t length = 0;
  bool flush = false;  // all before it is durable
  bool fua = false;    // it is itself
  bool discard = false;
  bool mark = false;          // `dmsetup message … mark TEXT`
  std::string text;           // of a mark
  std::uint64_t data_at = 0;  // bytes, on the log device

  /// Whether a power loss may come right after it without taking it along.
  bool is_durable() const { return flush || fua; }
};

class WriteLog {
 public:
  /// Reads the headers of all entries. The device is closed (dmsetup remove) by then: the kernel counts them
  /// at the end. EUCLEAN names what is not as it should be.
  static Result<WriteLog> open(Disk& disk, const std::string& path);

  const std::vector<LoggedWrite>& entries() const { return entries_; }
  /// Does to `target` what the entry did to the device. What was discarded is zero.
  Result<void> replay(const LoggedWrite& entry, DiskFile& target) const;

 private:
  explicit WriteLog(DiskFile file) : file_(std::move(file)) {}

  DiskFile file_;
  std::vector<LoggedWrite> entries_;
};

}  // namespace polder
