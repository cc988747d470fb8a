// SPDX-License-Identifier: GPL-3.0-or-later
// InFlight: which records have been applied, exactly, across kill -9: the file `applied`. And the checkpoint:
// up to which record everything has been applied and is durable, across power losses.
#pragma once
#include <array>
#include <memory>
#include <mutex>
#include <string>

#include "changelog/journal/segment_format.h"

namespace polder {

/// Any thread.
class InFlight {
 public:
  /// Reads or creates the file in `dir`, which outlives this.
  static Result<std::unique_ptr<InFlight>> open(Disk& disk, int dir, const std::string& boot_id);

  /// What the file says can be trusted: it is whole, and the page cache has it (base/page_cache.h).
  bool same_boot() const { return same_boot_; }

  /// Starts anew: everything <= low is applied, nothing else.
  Result<void> reset(std::uint64_t low);
  Result<void> applied(std::uint64_t index);
  bool is_applied(std::uint64_t index) const;
  std::uint64_t low() const;

 private:
  static constexpr std::size_t kFileBytes = 192;
  InFlight(DiskFile file, std::string boot_id) : file_(std::move(file)), boot_id_(std::move(boot_id)) {}
  void load(ConstBytes content);
  bool marked(std::uint64_t index) const { return marks_[index / 64 % marks_.size()] >> index % 64 & 1; }
  void flip(std::uint64_t index) { marks_[index / 64 % marks_.size()] ^= std::uint64_t{1} << index % 64; }
  void put_marks(std::byte* at) const;
  Result<void> store_all();
  Result<void> store_marks();

  DiskFile file_;
  std::string boot_id_;
  bool same_boot_ = false;
  mutable std::mutex mutex_;
  std::uint64_t low_ = 0;
  /// As in the file: bit i % 1024 is index i; only indexes in (low, low + 1024] are marked.
  using Marks = std::array<std::uint64_t, kMaxInFlight / 64>;
  Marks marks_{};
};

struct Checkpoint {
  std::uint64_t index = 0;
  std::string boot_id;
};

/// nullopt when there is none or it is damaged (logged): then everything counts as not applied.
Result<std::optional<Checkpoint>> read_checkpoint(Disk& disk, int dir);
Result<void> write_checkpoint(Disk& disk, int dir, const Checkpoint& checkpoint);

}  // namespace polder
