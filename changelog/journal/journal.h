// SPDX-License-Identifier: GPL-3.0-or-later
// Journal: the changelog of one set on one brick: append, sync, seal, read, retain.
//
// Invariants
// - Indexes are dense and rise over terms; (lineage, set, term, index) names at most one record, ever: the
// log
//   never rewinds. What a torn tail loses was never stable and never told to anybody outside the set.
// - appended >= stable; no Reader of consumers returns more than stable.
// - A record on disk is complete and matches its CRC-32C, or it is the torn tail of the last segment (cut off
// at
//   open), or it is damage: reported with segment and byte, never skipped.
//
// Threads: every method may be called from any worker; a mutex inside orders appends. All methods block.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/seams.h"
#include "changelog/cursor/cursor.h"
#include "changelog/record/record.h"

namespace polder {

/// 128 random bits, new at volume creation and at a forced recovery. Followers of an old lineage must rescan.
using Lineage = Gfid;

/// One point of one log, complete enough to be compared with any other point ever.
struct JournalPosition {
  Lineage lineage;
  std::uint32_t set = 0;
  std::uint64_t term = 0;
  std::uint64_t index = 0;
  auto operator<=>(const JournalPosition&) const = default;
};

struct JournalIdentity {
  Lineage lineage;
  std::uint32_t set = 0;
  std::uint64_t term = 1;
};

struct JournalOptions {
  std::uint64_t segment_bytes = 64ull << 20;   // sealed when larger
  std::uint64_t segment_age_s = 3600;          // sealed when older and not empty
  std::uint64_t retention_bytes = 4ull << 30;  // changelog.retention-size: cap over all segments
  std::uint64_t keep_sealed = 1;  // sealed segments that stay even when every cursor has passed them
  bool compress_sealed = true;    // zstd, once every cursor has passed or two newer segments exist
  std::uint64_t checkpoint_interval_s = 30;  // maintain() syncs the file system no more often
};

/// Where a check found what is wrong.
struct JournalDamage {
  std::string segment;
  std::uint64_t byte = 0;
  std::string what;
};

struct JournalCheck {
  std::uint64_t segments = 0, records = 0, first_index = 0, last_index = 0;
  std::vector<JournalDamage> damage;
};

/// So many records may be appended and not yet applied: what the file `applied` has room for.
inline constexpr std::uint64_t kMaxInFlight = 1024;

class JournalReader;

class Journal {
 public:
  /// Opens or creates the journal in directory `path` of `disk`. Cuts a torn tail off the last segment.
  /// EUCLEAN names segment and byte of damage before the tail; ESTALE when `identity.lineage` or set differs
  /// from what is there.
  static Result<std::unique_ptr<Journal>> open(Seams& seams, const std::string& path,
                                               const JournalIdentity& identity,
                                               const JournalOptions& options);
  virtual ~Journal() = default;

  /// Assigns index, hlc and (if 0) time_ns to `record` and puts it into the page cache. Returns the index.
  /// An error leaves the log and `record` as they were; after EIO the journal refuses further appends until
  /// reopened. ENOBUFS: kMaxInFlight records are appended and not yet applied (it does not wait, because the
  /// caller may be the only thread there is).
  virtual Result<std::uint64_t> append(Record& record) = 0;
  /// fdatasync of all that was appended before the call. Concurrent callers share one system call (group
  /// commit).
  virtual Result<void> sync() = 0;

  /// A sync of the brick has failed, of the log or of its files, and nobody knows what of them the disk has:
  /// the journal takes no more records, syncs and checkpoints (EIO), and the next one to open it does what it
  /// does after a power loss. base/page_cache.h says why. Failed syncs of the log say so themselves.
  virtual void sync_failed() = 0;

  /// Tells that the record has been applied to the store. Kept across kill -9, exactly, by one small write.
  /// ENOBUFS when `index` is more than kMaxInFlight past applied_index(): redo oldest first.
  virtual Result<void> applied(std::uint64_t index) = 0;
  /// Records appended but not applied, oldest first: redo them before serving. After a power loss these are
  /// all since the last checkpoint (what was applied since may be gone), so possibly many.
  virtual Result<std::vector<Record>> unapplied() = 0;

  virtual std::uint64_t first_index() const = 0;     // oldest still readable
  virtual std::uint64_t appended_index() const = 0;  // 0: nothing yet
  virtual std::uint64_t stable_index() const = 0;
  virtual std::uint64_t applied_index() const = 0;     // every record <= it is applied
  virtual std::uint64_t checkpoint_index() const = 0;  // every record <= it is applied and on disk
  /// The same of the checkpoint that is being taken, if any. What was appended before this grew is stable
  /// before that checkpoint counts.
  virtual std::uint64_t next_checkpoint_index() const = 0;
  virtual JournalPosition position(std::uint64_t index) const = 0;
  /// Called on some worker after the stable index has grown. One listener.
  virtual void on_stable(std::function<void(std::uint64_t stable_index)> listener) = 0;

  /// Reads from `index` on (1: the oldest that ever was). ENODATA when retention has dropped it: rescan.
  /// `upto_appended`: for the brick's own recovery and inspection only; consumers get <= stable.
  virtual Result<std::unique_ptr<JournalReader>> read_from(std::uint64_t index,
                                                           bool upto_appended = false) = 0;

  /// Creates it, too, and then everything that was appended before cursor_changes() grew is stable when it
  /// returns. EINVAL past the stable index. Moving a cursor to where the log still reaches ends its
  /// must_rescan; otherwise it stays.
  virtual Result<void> set_cursor(const std::string& name, std::uint64_t index) = 0;
  virtual Result<void> drop_cursor(const std::string& name) = 0;
  virtual Result<std::vector<Cursor>> cursors() = 0;
  virtual std::set<std::string> cursor_names() = 0;
  /// Grows when a cursor is created or dropped.
  virtual std::uint64_t cursor_changes() const = 0;

  /// Seals by age or when `force_seal`, compresses and drops segments by the rules of JournalOptions, and
  /// takes a checkpoint when one is due: syncfs of the file system, which must be the brick's, so that what
  /// was applied before is durable. Call now and then. Does what it can; returns the first error.
  virtual Result<void> maintain(bool force_seal = false) = 0;
  /// Reads every byte of every segment. Damage is in the answer, not an error.
  virtual Result<JournalCheck> verify() = 0;
};

class JournalReader {
 public:
  virtual ~JournalReader() = default;
  /// The next record, or nullopt at the end of what may be read now (ask again later). EUCLEAN names the
  /// damage.
  virtual Result<std::optional<Record>> next() = 0;
};

/// For `polder changelog show|verify` on a directory without a daemon: read-only, cuts nothing, takes no
/// lock.
Result<std::unique_ptr<JournalReader>> read_journal_directory(Disk& disk, const std::string& path,
                                                              std::uint64_t index);
Result<JournalCheck> verify_journal_directory(Disk& disk, const std::string& path);

}  // namespace polder
