// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/rebuild.h"

#include "base/log.h"
#include "georep/protocol/delta.h"

namespace polder::georep {

namespace {

constexpr std::uint64_t kMaxDelta_bytes = 1ull << 40;
constexpr std::size_t kBlock_bytes = 4096;

ReadAt read_object(Store& store, const Gfid& gfid) {
  return [&store, gfid](Bytes out, std::uint64_t offset) -> Result<std::size_t> {
    TRY(auto data, store.read(gfid, offset, static_cast<std::uint32_t>(out.size())));
    std::memcpy(out.data(), data.data(), data.size());
    return data.size();
  };
}

bool all_zero(ConstBytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

/// Writes a content from front to back; blocks of zeros stay holes.
class SparseWriter {
 public:
  SparseWriter(Disk& disk, int fd) : disk_(disk), fd_(fd) {}
  Result<void> write(ConstBytes bytes) {
    while (!bytes.empty()) {
      const auto to_boundary = kBlock_bytes - offset_ % kBlock_bytes;
      const auto block = bytes.first(std::min(bytes.size(), to_boundary));
      if (!all_zero(block)) {
        TRY(disk_.pwrite(fd_, block, offset_));
      }
      offset_ += block.size();
      bytes = bytes.subspan(block.size());
    }
    return {};
  }
  std::uint64_t offset() const { return offset_; }

 private:
  Disk& disk_;
  const int fd_;
  std::uint64_t offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<Rebuild>> Rebuild::begin(Disk& disk, std::string path, const Gfid& basis) {
  std::unique_ptr<Rebuild> rebuild(new Rebuild(disk, std::move(path), basis));
  const auto name = rebuild->path_ + ".delta.side";
  TRY(rebuild->delta_,
      disk.open(Disk::kNoDir, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600).with("create {}", name));
  return rebuild;
}

Rebuild::~Rebuild() {
  (void)disk_.unlink(Disk::kNoDir, path_ + ".delta.side");
}

Result<void> Rebuild::add(ConstBytes delta) {
  if (delta_bytes_ + delta.size() > kMaxDelta_bytes) return Error(EFBIG).with("delta for {}", path_);
  TRY(disk_.pwrite(delta_.fd(), delta, delta_bytes_).with("write delta for {}", path_));
  delta_bytes_ += delta.size();
  return {};
}

Result<bool> Rebuild::finish(Store& store, std::uint64_t result_bytes, const std::string& result_hash) {
  TRY(auto out, disk_.open(Disk::kNoDir, path_, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)
                    .with("create {}", path_));
  ContentHash hash;
  SparseWriter writer(disk_, out.fd());
  auto rebuilt = apply_delta(
      read_object(store, basis_),
      [&](Bytes bytes, std::uint64_t offset) { return disk_.pread(delta_.fd(), bytes, offset); },
      [&](ConstBytes bytes) -> Result<void> {
        if (writer.offset() + bytes.size() > result_bytes)
          return Error(EPROTO).with("delta gives too many bytes");
        hash.update(bytes);
        return writer.write(bytes).with("write {}", path_);
      });
  const bool lost_basis = rebuilt.failed_with(ESTALE) || rebuilt.failed_with(EPROTO);
  if (!rebuilt && !lost_basis) return std::move(rebuilt.error());
  if (lost_basis || writer.offset() != result_bytes || hash.digest() != result_hash) {
    log::info("geo-replication: a delta against {} does not give the expected content; it is sent whole",
              basis_.hex());
    TRY(disk_.unlink(Disk::kNoDir, path_).with("remove {}", path_));
    return false;
  }
  TRY(disk_.truncate(out.fd(), result_bytes).with("size of {}", path_));
  TRY(disk_.fdatasync(out.fd()).with("sync {}", path_));
  return true;
}

Result<std::optional<BasisSignature>> sign_basis(Store& store, const Gfid& basis) {
  auto found = store.attr(basis);
  if (found.failed_with(ESTALE)) return std::optional<BasisSignature>();
  TRY(const auto attr, std::move(found));
  if (!attr.is_regular()) return std::optional<BasisSignature>();
  TRY(auto signature, make_signature(read_object(store, basis), attr.size));
  return std::optional(BasisSignature{std::move(signature), attr.size});
}

}  // namespace polder::georep
