// SPDX-License-Identifier: GPL-3.0-or-later
// JournalImpl: the Journal on a directory. append and sync are in journal.cc, opening in journal_open.cc,
// what maintain() does in maintain.cc, checks in check.cc.
//
// Locks, taken in this order: maintain_mutex_, sync_mutex_, append_mutex_, then the leaves (database,
// catalogue, in-flight file, listener).
#pragma once
#include <algorithm>
#include <atomic>
#include <mutex>

#include "changelog/journal/catalogue.h"
#include "changelog/journal/in_flight.h"
#include "changelog/journal/journal_database.h"
#include "changelog/journal/reader.h"
#include "changelog/journal/recovery.h"

namespace polder {

class JournalImpl final : public Journal {
 public:
  JournalImpl(Seams& seams, const JournalIdentity& identity, const JournalOptions& options)
      : seams_(seams), identity_(identity), options_(options) {}
  ~JournalImpl() override;

  /// Called once, before anything else.
  Result<void> open_directory(const std::string& path);

  Result<std::uint64_t> append(Record& record) override;
  Result<void> sync() override;
  void sync_failed() override;
  Result<void> applied(std::uint64_t index) override;
  Result<std::vector<Record>> unapplied() override;
  std::uint64_t first_index() const override { return catalogue_->first_index(); }
  std::uint64_t appended_index() const override { return catalogue_->appended(); }
  std::uint64_t stable_index() const override { return catalogue_->stable(); }
  std::uint64_t checkpoint_index() const override { return checkpoint_index_; }
  std::uint64_t next_checkpoint_index() const override {
    return std::max(next_checkpoint_index_.load(), checkpoint_index_.load());
  }
  std::uint64_t applied_index() const override { return in_flight_->low(); }
  JournalPosition position(std::uint64_t index) const override;
  void on_stable(std::function<void(std::uint64_t)> listener) override;
  Result<std::unique_ptr<JournalReader>> read_from(std::uint64_t index, bool upto_appended) override;
  Result<void> set_cursor(const std::string& name, std::uint64_t index) override;
  Result<void> drop_cursor(const std::string& name) override;
  Result<std::vector<Cursor>> cursors() override;
  std::set<std::string> cursor_names() override;
  std::uint64_t cursor_changes() const override { return cursor_changes_; }
  Result<void> maintain(bool force_seal) override;
  Result<JournalCheck> verify() override;

 private:
  /// The segment that takes appends.
  struct Active {
    DiskFile file;
    SegmentHeader header;
    ContentHash hash;
    Hlc last_hlc;                    // of the log; with append_mutex_
    std::uint64_t synced_bytes = 0;  // with sync_mutex_
    std::uint64_t zeroed_bytes = 0;  // so far there are records or zeros; with append_mutex_
  };

  // Opening.
  Result<void> own_directory(const std::string& path);
  Result<void> load_segments();
  Result<std::uint64_t> proven_index();
  Result<void> load_sealed(const DirectoryListing& listing);
  Result<SegmentInfo> sealed_info(const SegmentName& name, const std::map<std::uint64_t, SegmentInfo>& known);
  Result<void> load_newest(const SegmentName& name, std::uint64_t proven);
  Result<void> check_identity(const SegmentName& name, const SegmentHeader& header) const;
  Result<void> cut_tail(const DiskFile& file, ScannedSegment& scanned);
  Result<void> continue_log();
  Result<void> load_in_flight();
  Result<void> remove(const std::vector<std::string>& names);

  // Appending.
  Result<void> check_usable() const;
  Result<void> append_locked(Record& record);
  Result<void> check_rises(const Record& record);
  Result<void> write_record(const Record& record);
  bool active_is_full() const;

  // Syncing and sealing. What the disk said goes through durable(): see sync_failed(). The caller of
  // sync_locked and sync_active holds sync_mutex_.
  Result<void> durable(Result<void> synced);
  Result<void> sync_locked();
  Result<void> sync_active(std::uint64_t upto);
  void put_zeros_ahead();
  Result<void> cut_zeros();
  void tell_stable(std::uint64_t before);
  Result<void> seal_if(const std::function<bool()>& wanted);
  Result<void> seal_locked();
  Result<void> start_segment(const SegmentHeader& header);

  // Maintenance.
  Result<void> take_checkpoint(bool now);
  Result<void> retain();
  Result<void> drop_segment(const SegmentInfo& segment);
  Result<void> compress_due();
  Result<void> compress(const SegmentInfo& segment);
  Result<std::uint64_t> passed_by_all();  // every cursor that counts has passed this index
  bool is_old(const SegmentInfo& active) const;

  Disk& disk() const { return dir_->disk(); }
  int dir() const { return dir_->fd(); }

  Seams& seams_;
  const JournalIdentity identity_;
  const JournalOptions options_;
  std::string boot_id_;         // of the page cache (base/page_cache.h)
  bool cache_may_lie_ = false;  // its sync_failed
  SharedDir dir_;
  std::shared_ptr<Catalogue> catalogue_ = std::make_shared<Catalogue>();
  std::unique_ptr<InFlight> in_flight_;
  std::unique_ptr<JournalDatabase> database_;

  std::mutex maintain_mutex_;
  std::atomic<std::uint64_t> checkpoint_index_{0};  // written under maintain_mutex_
  std::atomic<std::uint64_t> next_checkpoint_index_{0};
  std::atomic<std::uint64_t> cursor_changes_{0};
  std::int64_t checkpoint_boot_time_ns_ = 0;

  std::mutex sync_mutex_;  // one fdatasync at a time: an error of the kernel is told only once
  std::mutex append_mutex_;
  std::unique_ptr<Active> active_;  // changed only with both held; its hash with append_mutex_
  std::atomic<bool> failed_{false};
  std::atomic<bool> sync_failed_{false};
  std::atomic<bool> opened_{false};

  std::mutex listener_mutex_;
  std::function<void(std::uint64_t)> listener_;
};

/// Reads every byte of one segment up to `expected.bytes`; adds to `check`. What it finds wrong is no error.
Result<void> check_segment(Disk& disk, int dir, const SegmentInfo& expected, JournalCheck& check);

}  // namespace polder
