// SPDX-License-Identifier: GPL-3.0-or-later
// A changelog directory with one segment, as a start and as `polder changelog verify` read it. The first
// byte: what is done to the rest before it is a file.
#include "changelog/journal/segment_format.h"

#include <zstd.h>

#include "changelog/journal/journal.h"
#include "changelog/journal/recovery.h"
#include "changelog/record/little_endian.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sound.h"
#include "tests/support/sim_disk.h"

namespace polder::fuzz {
namespace {

enum How : std::uint8_t { kSound = 1, kThisBoot = 2, kCompress = 4, kCompressed = 8, kZeros = 16 };
constexpr const char* kPath = "/log";
constexpr std::size_t kFirstIndexAt = 56;

std::string compressed(const std::string& content) {
  std::string out(ZSTD_compressBound(content.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), content.data(), content.size(), 1));
  return out;
}

SegmentName name_for(std::string_view content, std::uint8_t how) {
  std::uint64_t first_index = 1;
  if (content.size() >= kSegmentHeaderBytes && (how & kCompressed) == 0)
    first_index =
        std::max<std::uint64_t>(1, load_le<std::uint64_t>(as_bytes(content).data() + kFirstIndexAt));
  return {first_index, (how & (kCompress | kCompressed)) != 0};
}

void write(SimDisk& disk, const SegmentName& name, std::string_view content) {
  require(disk.mkdir(Disk::kNoDir, kPath, 0700).has_value(), "mkdir");
  auto file = disk.open(Disk::kNoDir, fmt::format("{}/{}", kPath, name.text()), O_WRONLY | O_CREAT, 0600);
  require(file && disk.pwrite(file->fd(), as_bytes(content), 0), "write");
}

std::uint64_t records_read(SimDisk& disk, std::uint64_t first_index) {
  auto reader = read_journal_directory(disk, kPath, first_index);
  if (!reader) return 0;
  std::uint64_t count = 0;
  while (true) {
    auto record = (*reader)->next();
    if (!record || !*record) return count;
    ++count;
  }
}

}  // namespace

POLDER_FUZZ_TARGET(segment) {
  SimDisk disk;
  Input in(input);
  const auto how = in.number<std::uint8_t>();
  const auto boot_id = disk.boot_id().value();
  std::string content(in.text());
  if (how & kSound) content = sound_segment(as_bytes(content), how & kThisBoot ? boot_id : "");
  if (how & kZeros) content.append(1024, '\0');
  const auto name = name_for(content, how);
  write(disk, name, how & kCompress ? compressed(content) : content);

  auto dir = disk.open(Disk::kNoDir, kPath, O_RDONLY | O_DIRECTORY);
  auto scanned = scan_segment(disk, dir->fd(), name);
  if (scanned && scanned->stop) static_cast<void>(check_torn_tail(disk, dir->fd(), *scanned, {boot_id, 0}));
  const auto read = records_read(disk, name.first_index);
  auto check = verify_journal_directory(disk, kPath);
  require(check.has_value(), "damage is what verify finds, not an error");
  if (!scanned)
    return require(!check->damage.empty() && read == 0, "a segment that cannot be read is damage");
  require(read == scanned->info.records(), "a reader gets what the scan found");
  require(check->records == read, "and so does verify");
}

}  // namespace polder::fuzz
