// SPDX-License-Identifier: GPL-3.0-or-later
// DiskFile: an open file that knows which Disk closes it.
#include "base/disk.h"

namespace polder {

DiskFile& DiskFile::operator=(DiskFile&& other) noexcept {
  if (this == &other) return *this;
  reset();
  disk_ = other.disk_;
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

void DiskFile::reset() {
  if (fd_ >= 0) disk_->close(fd_);
  fd_ = -1;
}

}  // namespace polder
