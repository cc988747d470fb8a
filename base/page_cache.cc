// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/page_cache.h"

#include <unistd.h>

#include <algorithm>

#include "base/log.h"

namespace polder {
namespace {

// Not in /run/polder/CLUSTER: systemd empties that when the daemon ends.
constexpr const char* kDirectories[] = {"/run", "/run/polder", "/run/polder/failed-syncs"};

constexpr std::uint64_t kChunkBytes = 1 << 20;

std::string note_of(const PageCacheOf& brick) {
  return fmt::format("{}/{}-{}", kDirectories[2], brick.lineage.hex(), brick.set);
}

Result<void> note_failed_sync(Disk& disk, const PageCacheOf& brick) {
  for (const char* directory : kDirectories) static_cast<void>(disk.mkdir(Disk::kNoDir, directory, 0755));
  const auto path = note_of(brick);
  TRY(auto note, disk.open(Disk::kNoDir, path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600).with("open {}", path));
  TRY(auto status, disk.fstat(note.fd()));
  return disk.truncate(note.fd(), static_cast<std::uint64_t>(status.st_size) + 1).with("extend {}", path);
}

}  // namespace

Result<PageCache> page_cache(Disk& disk, const PageCacheOf& brick) {
  PageCache cache;
  TRY(cache.id, disk.boot_id());
  const auto path = note_of(brick);
  auto note = disk.stat(Disk::kNoDir, path);
  if (note.failed_with(ENOENT)) return cache;
  if (!note) return std::move(note).error().with("look at {}", path);
  std::erase(cache.id, '-');  // to have room for the number
  cache.id += fmt::format("-{}", note->st_size);
  cache.sync_failed = true;
  return cache;
}

void distrust_page_cache(Disk& disk, const PageCacheOf& brick) {
  auto noted = note_failed_sync(disk, brick);
  if (!noted)
    log::error(
        "after a failed sync the page cache of set {} of {} proves nothing, and a start will not know: {}",
        brick.set, brick.lineage.hex(), noted.error().message());
}

Result<void> write_again(Disk& disk, int fd, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::byte> chunk;
  for (auto at = begin; at < end;) {
    auto data = disk.seek(fd, at, SEEK_DATA);
    if (data.failed_with(ENXIO)) return {};  // a hole to the end, or the end
    TRY(at, std::move(data));
    if (at >= end) return {};
    TRY(const auto hole, disk.seek(fd, at, SEEK_HOLE));
    chunk.resize(std::min({end - at, hole - at, kChunkBytes}));
    TRY(auto size, disk.pread(fd, chunk, at));
    if (size == 0) return {};
    TRY(disk.pwrite(fd, ConstBytes(chunk).first(size), at));
    at += size;
  }
  return {};
}

}  // namespace polder
