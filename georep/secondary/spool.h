// SPDX-License-Identifier: GPL-3.0-or-later
// Spool: cuts that the secondary has received and not yet applied, one file a cut, durable when told.
// Format: docs/formats/georep-stream.md, "Spool on the secondary".
//
// Invariants: cut numbers in the spool are contiguous; only the last cut may be unfinished; a frame that was
// synced is read back bit for bit or reported as damage (EUCLEAN). Blocks: call on a worker, one thread at a
// time.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/disk.h"

namespace polder::georep {

/// A message of the stream and its payload, as bytes.
struct SpoolFrame {
  std::string message;
  Buffer payload;
};

class SpoolReader {
 public:
  SpoolReader(DiskFile file, std::string path, std::uint64_t size_bytes);
  /// nullopt at the end of the file.
  Result<std::optional<SpoolFrame>> next();
  std::uint64_t offset() const { return offset_; }

 private:
  DiskFile file_;
  std::string path_;
  std::uint64_t size_bytes_;
  std::uint64_t offset_ = 0;
};

class Spool {
 public:
  /// Opens or makes directory `path`. Cuts a torn tail off the last file; damage elsewhere is EUCLEAN with
  /// its place. `boot_id`: of the volume's brick (Store::boot_id()).
  static Result<std::unique_ptr<Spool>> open(Disk& disk, const std::string& path, std::string boot_id);

  /// Starts the file of `cut`, which follows the last one (or is any when the spool is empty).
  Result<void> begin(std::uint64_t cut);
  /// Appends to the cut that was begun last. Not durable before sync().
  Result<void> append(ConstBytes message, ConstBytes payload);
  Result<void> sync();
  /// The cut that was begun last is complete and durable. After an error it is either dropped, or in
  /// finished() and not durable yet.
  Result<void> finish();
  /// Drops the unfinished cut.
  Result<void> abandon();
  /// Drops `cut` and every one before it.
  Result<void> remove_through(std::uint64_t cut);
  /// Makes new names in the directory durable: of side files, before a frame speaks of them.
  Result<void> sync_directory();

  /// Whether the spool was last used under this boot id. When not, what the volume had of the cuts in
  /// it may be gone, whatever it says: apply them again, then remember_boot().
  bool same_boot() const { return same_boot_; }
  Result<void> remember_boot();

  Result<SpoolReader> read(std::uint64_t cut) const;
  /// Finished cuts, oldest first.
  std::vector<std::uint64_t> finished() const;
  /// 0: none.
  std::uint64_t unfinished() const;
  std::uint64_t bytes() const;

  /// A file beside the cuts for a content that is being rebuilt from a delta; removed with its cut.
  std::string side_file(std::uint64_t cut, const std::string& name) const;

 private:
  Spool(Disk& disk, std::string path, std::string boot_id)
      : disk_(disk), path_(std::move(path)), boot_id_(std::move(boot_id)) {}
  std::string file_name(std::uint64_t cut, bool finished) const;
  Result<void> load();
  Result<void> cut_torn_tail(std::uint64_t cut);
  Result<void> remove_side_files(std::uint64_t upto_cut);
  Result<void> load_boot();

  Disk& disk_;
  const std::string path_;
  const std::string boot_id_;
  DiskFile directory_;
  bool same_boot_ = true;
  mutable std::mutex mutex_;                         // of the three below
  std::map<std::uint64_t, std::uint64_t> finished_;  // cut → bytes
  std::uint64_t unfinished_ = 0;
  std::uint64_t unfinished_bytes_ = 0;
  DiskFile file_;  // of the unfinished cut
};

}  // namespace polder::georep
