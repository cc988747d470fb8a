// SPDX-License-Identifier: GPL-3.0-or-later
// MappedDevice: a block device of the kernel's device-mapper with one target, by ioctls: starting `dmsetup`
// takes a tenth of a second in the guest.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"

namespace polder {

class MappedDevice {
 public:
  /// `target` and `parameters` as `dmsetup create NAME --table "0 SECTORS TARGET PARAMETERS"`.
  static Result<MappedDevice> create(const std::string& name, std::uint64_t sectors,
                                     const std::string& target, const std::string& parameters);
  MappedDevice() = default;
  MappedDevice(MappedDevice&& other) noexcept : name_(std::move(other.name_)), path_(std::move(other.path_)) {
    other.name_.clear();
  }
  MappedDevice& operator=(MappedDevice&& other) noexcept;
  ~MappedDevice();

  const std::string& path() const { return path_; }
  /// `dmsetup message NAME 0 TEXT`.
  Result<void> message(const std::string& text);
  /// EBUSY while somebody has it open. The destructor does not tell.
  Result<void> remove();

 private:
  std::string name_;  // empty: there is none
  std::string path_;
};

}  // namespace polder
