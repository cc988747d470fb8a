// SPDX-License-Identifier: GPL-3.0-or-later
// LossyDisk: the bricks' file systems side by side on one disk of the guest whose writes are logged, so that
// the disk can be had again as it was at any moment. One disk, hence one order in time for all bricks.
//
//   live    what the workload runs on: bricks ← linear ← log-writes
//   image   the same as it was before; moves forward write by write
//   moment  bricks ← linear ← snapshot of the image: what a start does to it is forgotten
//
// Errors are exceptions: nothing of it can go on.
#pragma once
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/vm/mapped_device.h"
#include "tests/vm/write_log.h"

namespace polder {

class LossyDisk {
 public:
  /// Makes the file systems (xfs, ext4 or btrfs) and mounts them, unlogged.
  LossyDisk(Disk& disk, std::string filesystem, std::uint32_t bricks);
  ~LossyDisk();

  /// Where file system `at` is mounted, whenever one is.
  std::string directory(std::uint32_t at) const;

  /// What is on it now is where the replay will begin; from here on everything is logged.
  void start_logging();
  void mark(const std::string& text);
  void stop_logging();

  const std::vector<LoggedWrite>& writes() const { return log_->entries(); }
  /// Brings the image to where entry `upto` (its own included) was durable. Forward only.
  void advance(std::size_t upto);
  /// Mounts the image. With `torn`: of the writes between `upto` and the next flush some have reached the
  /// disk, too.
  void power_on(std::mt19937_64* torn);
  void power_off();

 private:
  void split(const std::string& on);
  void mount();
  void unmount();
  void unsplit();
  std::size_t next_durable(std::size_t after) const;

  Disk& disk_;
  const std::string filesystem_;
  const std::uint32_t bricks_;
  std::string log_device_, live_device_, image_device_, moment_device_;
  MappedDevice logged_, moment_;
  std::vector<MappedDevice> parts_;
  bool mounted_ = false;
  std::unique_ptr<WriteLog> log_;
  DiskFile image_;
  std::size_t next_ = 0;  // entry that is not on the image yet
};

}  // namespace polder
