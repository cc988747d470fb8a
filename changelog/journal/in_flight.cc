// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/journal/in_flight.h"

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/log.h"
#include "changelog/cursor/atomic_file.h"
#include "changelog/record/little_endian.h"

namespace polder {

namespace {

// The file `applied`. No checksum: it is trusted only under the kernel whose page cache has it, and each
// write lies within one page, so that a killed process leaves it before or after.
constexpr const char* kAppliedFile = "applied";
constexpr std::string_view kAppliedMagic = "POLDERAP";
constexpr std::size_t kVersionAt = 8, kBootIdAt = 16, kLowAt = 56, kMarksAt = 64;
constexpr std::size_t kMarksBytes = kMaxInFlight / 8;

constexpr const char* kCheckpointFile = "checkpoint";
constexpr std::string_view kCheckpointMagic = "POLDERCP";
constexpr std::size_t kCheckpointBytes = 64, kCrcAt = 12, kIndexAt = 16, kCheckpointBootIdAt = 24;

void store_text(std::byte* at, std::string_view text) {
  std::memcpy(at, text.data(), std::min(text.size(), kBootIdBytes));
}

std::string load_boot_id(const std::byte* at) {
  auto text = as_text({at, kBootIdBytes});
  return std::string(text.substr(0, text.find('\0')));
}

}  // namespace

Result<std::unique_ptr<InFlight>> InFlight::open(Disk& disk, int dir, const std::string& boot_id) {
  TRY(auto file,
      disk.open(dir, kAppliedFile, O_RDWR | O_CREAT | O_NOFOLLOW, 0600).with("open {}", kAppliedFile));
  std::unique_ptr<InFlight> in_flight(new InFlight(std::move(file), boot_id.substr(0, kBootIdBytes)));
  std::array<std::byte, kFileBytes> content{};
  TRY(auto size, disk.pread(in_flight->file_.fd(), content, 0).with("read {}", kAppliedFile));
  if (size == content.size()) in_flight->load(content);
  return in_flight;
}

void InFlight::load(ConstBytes content) {
  if (as_text(content.first(kAppliedMagic.size())) != kAppliedMagic ||
      load_le<std::uint32_t>(content.data() + kVersionAt) != kJournalFormat)
    return;
  same_boot_ = load_boot_id(content.data() + kBootIdAt) == boot_id_;
  if (!same_boot_) return;
  low_ = load_le<std::uint64_t>(content.data() + kLowAt);
  std::memcpy(marks_.data(), content.data() + kMarksAt, kMarksBytes);
}

Result<void> InFlight::reset(std::uint64_t low) {
  std::lock_guard lock(mutex_);
  low_ = low;
  marks_ = {};
  return store_all();
}

Result<void> InFlight::applied(std::uint64_t index) {
  std::lock_guard lock(mutex_);
  if (index <= low_ || (index <= low_ + kMaxInFlight && marked(index))) return {};
  if (index > low_ + kMaxInFlight)
    return Error(ENOBUFS).with("record {} cannot be noted as applied before record {}", index, low_ + 1);
  const auto old_low = low_;
  const auto old_marks = marks_;
  flip(index);
  while (marked(low_ + 1)) flip(++low_);
  auto stored = store_marks();
  if (!stored) {  // memory must not be ahead of the file: the caller was told that it did not work
    low_ = old_low;
    marks_ = old_marks;
  }
  return stored;
}

bool InFlight::is_applied(std::uint64_t index) const {
  std::lock_guard lock(mutex_);
  return index <= low_ || (index <= low_ + kMaxInFlight && marked(index));
}

std::uint64_t InFlight::low() const {
  std::lock_guard lock(mutex_);
  return low_;
}

void InFlight::put_marks(std::byte* at) const {
  store_le(at, low_);
  std::memcpy(at + kMarksAt - kLowAt, marks_.data(), kMarksBytes);
}

Result<void> InFlight::store_all() {
  std::array<std::byte, kFileBytes> content{};
  store_text(content.data(), kAppliedMagic);
  store_le(content.data() + kVersionAt, kJournalFormat);
  store_text(content.data() + kBootIdAt, boot_id_);
  put_marks(content.data() + kLowAt);
  return file_.disk().pwrite(file_.fd(), content, 0).with("write {}", kAppliedFile);
}

Result<void> InFlight::store_marks() {
  static_assert(kMarksAt + kMarksBytes == kFileBytes && sizeof marks_ == kMarksBytes);
  std::array<std::byte, kFileBytes - kLowAt> content{};
  put_marks(content.data());
  return file_.disk().pwrite(file_.fd(), content, kLowAt).with("write {}", kAppliedFile);
}

Result<std::optional<Checkpoint>> read_checkpoint(Disk& disk, int dir) {
  auto content = read_file(disk, dir, kCheckpointFile, kCheckpointBytes);
  if (content.failed_with(ENOENT)) return std::nullopt;
  if (!content && !content.error().is(EFBIG)) return content.error();
  if (!content || content->size() != kCheckpointBytes || !content->starts_with(kCheckpointMagic) ||
      load_le<std::uint32_t>(as_bytes(*content).data() + kVersionAt) != kJournalFormat ||
      load_le<std::uint32_t>(as_bytes(*content).data() + kCrcAt) !=
          crc32c(0, as_bytes(*content).subspan(kIndexAt))) {
    log::warning("the changelog's checkpoint is damaged and is not used");
    return std::nullopt;
  }
  const std::byte* at = as_bytes(*content).data();
  return Checkpoint{load_le<std::uint64_t>(at + kIndexAt), load_boot_id(at + kCheckpointBootIdAt)};
}

Result<void> write_checkpoint(Disk& disk, int dir, const Checkpoint& checkpoint) {
  std::array<std::byte, kCheckpointBytes> content{};
  store_text(content.data(), kCheckpointMagic);
  store_le(content.data() + kVersionAt, kJournalFormat);
  store_le(content.data() + kIndexAt, checkpoint.index);
  store_text(content.data() + kCheckpointBootIdAt, checkpoint.boot_id);
  store_le(content.data() + kCrcAt, crc32c(0, ConstBytes(content).subspan(kIndexAt)));
  return replace_file(disk, dir, kCheckpointFile, content);
}

}  // namespace polder
