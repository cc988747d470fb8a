// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/vm/write_log.h"

#include <algorithm>
#include <array>

#include "changelog/record/little_endian.h"

namespace polder {
namespace {

constexpr std::uint64_t kMagic = 0x6a736677736872;
constexpr std::uint64_t kVersion = 1;
constexpr std::uint64_t kFlush = 1, kFua = 2, kDiscard = 4, kMark = 8;
constexpr std::size_t kSuperBytes = 28, kEntryBytes = 32;
constexpr std::uint64_t kPieceBytes = 1 << 20;

struct Super {
  std::uint64_t entries = 0;
  std::uint64_t sector_bytes = 0;
};

Result<Super> read_super(const DiskFile& file) {
  std::array<std::byte, kSuperBytes> head{};
  TRY(auto size, file.disk().pread(file.fd(), head, 0));
  if (size != head.size() || load_le<std::uint64_t>(head.data()) != kMagic)
    return Error(EUCLEAN).with("is not a log of dm-log-writes");
  auto version = load_le<std::uint64_t>(head.data() + 8);
  if (version != kVersion) return Error(EUCLEAN).with("is of version {}", version);
  Super super{.entries = load_le<std::uint64_t>(head.data() + 16),
              .sector_bytes = load_le<std::uint32_t>(head.data() + 24)};
  if (super.sector_bytes < 512 || super.sector_bytes > 65536)
    return Error(EUCLEAN).with("has sectors of {} bytes", super.sector_bytes);
  return super;
}

/// The entry in the sector at `at`.
Result<LoggedWrite> read_entry(const DiskFile& file, std::uint64_t at, std::uint64_t sector_bytes) {
  std::vector<std::byte> sector(sector_bytes);
  TRY(auto size, file.disk().pread(file.fd(), sector, at));
  if (size != sector.size()) return Error(EUCLEAN).with("ends at byte {}", at);
  const auto flags = load_le<std::uint64_t>(sector.data() + 16);
  LoggedWrite entry{.offset = load_le<std::uint64_t>(sector.data()) * sector_bytes,
                    .length = load_le<std::uint64_t>(sector.data() + 8) * sector_bytes,
                    .flush = (flags & kFlush) != 0,
                    .fua = (flags & kFua) != 0,
                    .discard = (flags & kDiscard) != 0,
                    .mark = (flags & kMark) != 0,
                    .text = {},
                    .data_at = at + sector_bytes};
  const auto text_bytes = load_le<std::uint64_t>(sector.data() + 24);
  if (text_bytes > sector.size() - kEntryBytes)
    return Error(EUCLEAN).with("has an entry at byte {} that says it has {} bytes", at, text_bytes);
  if (entry.mark) entry.text = as_text(ConstBytes(sector).subspan(kEntryBytes, text_bytes));
  return entry;
}

}  // namespace

Result<WriteLog> WriteLog::open(Disk& disk, const std::string& path) {
  TRY(auto file, disk.open(Disk::kNoDir, path, O_RDONLY).with("open {}", path));
  WriteLog log(std::move(file));
  TRY(auto super, read_super(log.file_).with("{}", path));
  auto at = super.sector_bytes;
  for (std::uint64_t i = 0; i < super.entries; ++i) {
    TRY(auto entry, read_entry(log.file_, at, super.sector_bytes).with("{}, entry {}", path, i));
    at = entry.data_at + (entry.discard ? 0 : entry.length);
    log.entries_.push_back(std::move(entry));
  }
  return log;
}

Result<void> WriteLog::replay(const LoggedWrite& entry, DiskFile& target) const {
  std::vector<std::byte> piece(std::min(entry.length, kPieceBytes));
  for (std::uint64_t done = 0; done < entry.length;) {
    auto bytes = Bytes(piece).first(std::min<std::uint64_t>(piece.size(), entry.length - done));
    if (!entry.discard) {
      TRY(auto size, file_.disk().pread(file_.fd(), bytes, entry.data_at + done));
      if (size != bytes.size()) return Error(EUCLEAN).with("the log of writes ends too early");
    }
    TRY(target.disk().pwrite(target.fd(), bytes, entry.offset + done));
    done += bytes.size();
  }
  return {};
}

}  // namespace polder
