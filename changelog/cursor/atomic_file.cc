// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/cursor/atomic_file.h"

namespace polder {

Result<void> replace_file(Disk& disk, int dir, const std::string& name, ConstBytes content) {
  const std::string temporary = name + ".tmp";
  TRY(auto file, disk.open(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600).with("create {}", temporary));
  TRY(disk.pwrite(file.fd(), content, 0).with("write {}", temporary));
  TRY(disk.fsync(file.fd()).with("sync {}", temporary));
  TRY(disk.rename(dir, temporary, dir, name).with("rename {} to {}", temporary, name));
  return disk.fsync(dir).with("sync the directory of {}", name);
}

Result<std::string> read_file(Disk& disk, int dir, const std::string& name, std::size_t max_bytes) {
  TRY(auto file, disk.open(dir, name, O_RDONLY | O_NOFOLLOW).with("open {}", name));
  std::string content(max_bytes + 1, '\0');
  TRY(auto size, disk.pread(file.fd(), std::as_writable_bytes(std::span(content)), 0).with("read {}", name));
  if (size > max_bytes) return Error(EFBIG).with("{} has more than {} bytes", name, max_bytes);
  content.resize(size);
  return content;
}

}  // namespace polder
