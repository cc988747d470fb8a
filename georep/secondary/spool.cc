// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/spool.h"

#include <charconv>

#include "base/crash_point.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/page_cache.h"

namespace polder::georep {

namespace {

// Frame: crc32c u32 of the rest of the header, message and payload; message length u32; payload length u32;
// then both.
constexpr std::size_t kHeaderBytes = 12;
constexpr std::uint32_t kMaxMessageBytes = 1u << 20;
constexpr std::uint32_t kMaxPayloadBytes = 16u << 20;
constexpr const char* kBootFile = "boot";

void put_u32(std::byte* out, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
}
std::uint32_t get_u32(const std::byte* in) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | std::to_integer<std::uint32_t>(in[i]);
  return value;
}

Error damage(const std::string& path, std::uint64_t offset, std::string_view what) {
  return Error(EUCLEAN).with("geo-replication spool {}: {} at byte {}", path, what, offset);
}

struct ParsedName {
  std::uint64_t cut = 0;
  bool finished = false;
};

std::optional<ParsedName> parse_name(std::string_view name) {
  ParsedName parsed;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), parsed.cut);
  if (error != std::errc() || parsed.cut == 0) return std::nullopt;
  std::string_view suffix(end, name.data() + name.size());
  if (suffix != ".cut" && suffix != ".part") return std::nullopt;
  parsed.finished = suffix == ".cut";
  return parsed;
}

}  // namespace

SpoolReader::SpoolReader(DiskFile file, std::string path, std::uint64_t size_bytes)
    : file_(std::move(file)), path_(std::move(path)), size_bytes_(size_bytes) {}

Result<std::optional<SpoolFrame>> SpoolReader::next() {
  if (offset_ == size_bytes_) return std::optional<SpoolFrame>();
  std::array<std::byte, kHeaderBytes> header;
  TRY(auto got, file_.disk().pread(file_.fd(), header, offset_).with("read {}", path_));
  if (got < kHeaderBytes) return damage(path_, offset_, "frame header cut short");
  const std::uint32_t message_bytes = get_u32(&header[4]);
  const std::uint32_t payload_bytes = get_u32(&header[8]);
  if (message_bytes > kMaxMessageBytes || payload_bytes > kMaxPayloadBytes) {
    return damage(path_, offset_, "impossible frame length");
  }
  auto body = Buffer::allocate(message_bytes + payload_bytes);
  TRY(auto body_got,
      file_.disk().pread(file_.fd(), body.writable(), offset_ + kHeaderBytes).with("read {}", path_));
  if (body_got < body.size()) return damage(path_, offset_, "frame cut short");
  const auto crc = crc32c(crc32c(0, std::span(header).subspan(4)), body.bytes());
  if (crc != get_u32(header.data())) return damage(path_, offset_, "checksum mismatch");
  offset_ += kHeaderBytes + body.size();
  SpoolFrame frame;
  frame.message = std::string(body.text().substr(0, message_bytes));
  frame.payload = body.slice(message_bytes, payload_bytes);
  return std::optional(std::move(frame));
}

Result<std::unique_ptr<Spool>> Spool::open(Disk& disk, const std::string& path, std::string boot_id) {
  std::unique_ptr<Spool> spool(new Spool(disk, path, std::move(boot_id)));
  if (auto made = disk.mkdir(Disk::kNoDir, path, 0700); !made && !made.failed_with(EEXIST)) {
    return std::move(made.error()).with("make spool {}", path);
  }
  TRY(spool->directory_, disk.open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY).with("open spool {}", path));
  TRY(spool->load_boot());
  TRY(spool->load());
  return spool;
}

Result<void> Spool::load() {
  TRY(auto entries, disk_.list(directory_.fd()).with("list spool {}", path_));
  for (const auto& entry : entries) {
    auto parsed = parse_name(entry.name);
    if (!parsed) continue;
    TRY(auto status, disk_.stat(directory_.fd(), entry.name).with("stat {}/{}", path_, entry.name));
    if (parsed->finished) {
      finished_[parsed->cut] = static_cast<std::uint64_t>(status.st_size);
    } else {
      unfinished_ = std::max(unfinished_, parsed->cut);
    }
  }
  std::uint64_t previous = 0;
  for (const auto& [cut, bytes] : finished_) {
    if (previous != 0 && cut != previous + 1) {
      return Error(EUCLEAN).with("geo-replication spool {}: cut {} is missing", path_, previous + 1);
    }
    previous = cut;
  }
  if (unfinished_ == 0) return {};
  if (previous != 0 && unfinished_ != previous + 1) return abandon();
  return cut_torn_tail(unfinished_);
}

Result<void> Spool::cut_torn_tail(std::uint64_t cut) {
  const std::string name = file_name(cut, false);
  TRY(file_, disk_.open(directory_.fd(), name, O_RDWR | O_NOFOLLOW).with("open {}/{}", path_, name));
  TRY(auto status, disk_.fstat(file_.fd()));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  TRY(auto reading, disk_.open(directory_.fd(), name, O_RDONLY | O_NOFOLLOW).with("open {}/{}", path_, name));
  SpoolReader reader(std::move(reading), path_ + "/" + name, size);
  while (true) {
    const std::uint64_t good = reader.offset();
    auto frame = reader.next();
    unfinished_bytes_ = good;
    if (frame && !*frame) break;
    if (frame) continue;
    if (!frame.failed_with(EUCLEAN)) return std::move(frame.error());
    log::warning("{}; cut off, the primary sends it again", frame.error().message());
    TRY(disk_.truncate(file_.fd(), good).with("truncate {}/{}", path_, name));
    break;
  }
  // A sync of it may have failed in a process that was killed then, so that the page cache has what the disk
  // will never have.
  return write_again(disk_, file_.fd(), 0, unfinished_bytes_).with("write {}/{} again", path_, name);
}

Result<void> Spool::load_boot() {
  auto file = disk_.open(directory_.fd(), kBootFile, O_RDONLY | O_NOFOLLOW);
  same_boot_ = false;
  if (file.failed_with(ENOENT)) return {};
  if (!file) return std::move(file).error().with("open {}/{}", path_, kBootFile);
  std::string known(boot_id_.size() + 1, '\0');
  TRY(auto size, disk_.pread(file->fd(), std::as_writable_bytes(std::span(known)), 0)
                     .with("read {}/{}", path_, kBootFile));
  known.resize(size);
  same_boot_ = known == boot_id_;
  return {};
}

/// Not synced: when a power loss takes the file along, the cuts are applied once more.
Result<void> Spool::remember_boot() {
  TRY(auto file, disk_.open(directory_.fd(), kBootFile, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)
                     .with("open {}/{}", path_, kBootFile));
  TRY(disk_.pwrite(file.fd(), as_bytes(boot_id_), 0).with("write {}/{}", path_, kBootFile));
  same_boot_ = true;
  return {};
}

std::string Spool::file_name(std::uint64_t cut, bool finished) const {
  return fmt::format("{:020}{}", cut, finished ? ".cut" : ".part");
}

std::string Spool::side_file(std::uint64_t cut, const std::string& name) const {
  return fmt::format("{}/{:020}.{}.side", path_, cut, name);
}

Result<void> Spool::begin(std::uint64_t cut) {
  const std::string name = file_name(cut, false);
  TRY(file_, disk_.open(directory_.fd(), name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)
                 .with("create {}/{}", path_, name));
  {
    std::lock_guard lock(mutex_);
    unfinished_ = cut;
    unfinished_bytes_ = 0;
  }
  return sync_directory();
}

Result<void> Spool::append(ConstBytes message, ConstBytes payload) {
  std::array<std::byte, kHeaderBytes> header;
  put_u32(&header[4], static_cast<std::uint32_t>(message.size()));
  put_u32(&header[8], static_cast<std::uint32_t>(payload.size()));
  auto crc = crc32c(0, std::span(header).subspan(4));
  crc = crc32c(crc32c(crc, message), payload);
  put_u32(header.data(), crc);
  const std::array<ConstBytes, 3> pieces{header, message, payload};
  if (auto written = disk_.pwritev(file_.fd(), pieces, unfinished_bytes_); !written) {
    // Half a frame must not stand behind the last one when the cut is finished without it.
    static_cast<void>(disk_.truncate(file_.fd(), unfinished_bytes_));
    return std::move(written).error().with("write geo-replication spool {}", path_);
  }
  std::lock_guard lock(mutex_);
  unfinished_bytes_ += kHeaderBytes + message.size() + payload.size();
  crash_point("georep/within-spool");
  return {};
}

Result<void> Spool::sync() {
  return disk_.fdatasync(file_.fd()).with("sync geo-replication spool {}", path_);
}

Result<void> Spool::finish() {
  crash_point("georep/before-spool-finish");
  if (auto synced = sync(); !synced) {
    // The kernel may hold pages for clean that the disk does not have: only the primary has the cut for sure.
    static_cast<void>(abandon());
    return synced;
  }
  TRY(disk_
          .rename(directory_.fd(), file_name(unfinished_, false), directory_.fd(),
                  file_name(unfinished_, true))
          .with("finish cut {} in {}", unfinished_, path_));
  {
    std::lock_guard lock(mutex_);
    finished_[unfinished_] = unfinished_bytes_;
    unfinished_ = 0;
    unfinished_bytes_ = 0;
    file_.reset();
  }
  TRY(sync_directory());
  crash_point("georep/after-spool-finish");
  return {};
}

Result<void> Spool::abandon() {
  if (unfinished_ == 0) return {};
  const auto cut = unfinished_;
  {
    std::lock_guard lock(mutex_);
    unfinished_ = 0;
    unfinished_bytes_ = 0;
    file_.reset();
  }
  return disk_.unlink(directory_.fd(), file_name(cut, false)).with("remove cut {} in {}", cut, path_);
}

Result<void> Spool::remove_through(std::uint64_t cut) {
  while (!finished_.empty() && finished_.begin()->first <= cut) {
    const auto name = file_name(finished_.begin()->first, true);
    TRY(disk_.unlink(directory_.fd(), name).with("remove {}/{}", path_, name));
    std::lock_guard lock(mutex_);
    finished_.erase(finished_.begin());
  }
  return remove_side_files(cut);
}

Result<void> Spool::remove_side_files(std::uint64_t upto_cut) {
  TRY(auto entries, disk_.list(directory_.fd()).with("list spool {}", path_));
  for (const auto& entry : entries) {
    if (!entry.name.ends_with(".side")) continue;
    std::uint64_t cut = 0;
    std::from_chars(entry.name.data(), entry.name.data() + entry.name.size(), cut);
    if (cut > upto_cut) continue;
    TRY(disk_.unlink(directory_.fd(), entry.name).with("remove {}/{}", path_, entry.name));
  }
  return {};
}

Result<SpoolReader> Spool::read(std::uint64_t cut) const {
  bool finished = false;
  std::uint64_t bytes = 0;
  {
    std::lock_guard lock(mutex_);
    const auto found = finished_.find(cut);
    finished = found != finished_.end();
    if (!finished && cut != unfinished_)
      return Error(ENOENT).with("geo-replication spool {}: cut {}", path_, cut);
    bytes = finished ? found->second : unfinished_bytes_;
  }
  const auto name = file_name(cut, finished);
  TRY(auto file, disk_.open(directory_.fd(), name, O_RDONLY | O_NOFOLLOW).with("open {}/{}", path_, name));
  return SpoolReader(std::move(file), path_ + "/" + name, bytes);
}

std::vector<std::uint64_t> Spool::finished() const {
  std::lock_guard lock(mutex_);
  std::vector<std::uint64_t> cuts;
  for (const auto& [cut, bytes] : finished_) cuts.push_back(cut);
  return cuts;
}

std::uint64_t Spool::unfinished() const {
  std::lock_guard lock(mutex_);
  return unfinished_;
}

std::uint64_t Spool::bytes() const {
  std::lock_guard lock(mutex_);
  std::uint64_t total = unfinished_bytes_;
  for (const auto& [cut, bytes] : finished_) total += bytes;
  return total;
}

Result<void> Spool::sync_directory() {
  return disk_.fsync(directory_.fd()).with("sync spool directory {}", path_);
}

}  // namespace polder::georep
