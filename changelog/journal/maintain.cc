// SPDX-License-Identifier: GPL-3.0-or-later
// What maintain() does: seal by age, checkpoint, retention, compression.
#include <algorithm>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "changelog/journal/journal_impl.h"
#include "changelog/journal/segment_source.h"

namespace polder {

namespace {

constexpr std::int64_t kSecond_ns = 1'000'000'000;

void keep_first(Result<void>& first, Result<void> next) {
  if (first && !next) first = std::move(next);
}

}  // namespace

Result<void> JournalImpl::maintain(bool force_seal) {
  std::lock_guard lock(maintain_mutex_);
  // Each step is tried: a full disk stops sealing, and dropping segments is what helps then.
  Result<void> outcome;
  keep_first(outcome, seal_if([&] {
               auto active = catalogue_->active();
               return force_seal || active.bytes >= options_.segment_bytes || is_old(active);
             }));
  keep_first(outcome, take_checkpoint(force_seal));
  keep_first(outcome, retain());
  if (options_.compress_sealed) keep_first(outcome, compress_due());
  return outcome;
}

bool JournalImpl::is_old(const SegmentInfo& active) const {
  const auto age_ns = seams_.clock.wall_time().count() - static_cast<std::int64_t>(active.first_hlc.ns);
  return age_ns / kSecond_ns >= static_cast<std::int64_t>(options_.segment_age_s);
}

/// fdatasync of the log, then syncfs for what was applied from it, then the note.
Result<void> JournalImpl::take_checkpoint(bool now) {
  const auto since_ns = seams_.clock.boot_time().count() - checkpoint_boot_time_ns_;
  const auto index = in_flight_->low();
  if (index <= checkpoint_index_) return {};
  if (!now && since_ns / kSecond_ns < static_cast<std::int64_t>(options_.checkpoint_interval_s)) return {};
  next_checkpoint_index_ = index;
  TRY(sync());
  TRY(durable(disk().syncfs(dir())).with("sync the file system of the changelog"));
  TRY(check_usable());  // or another sync, of a file, has heard what became of it
  TRY(write_checkpoint(disk(), dir(), {index, boot_id_}));
  checkpoint_index_ = index;
  checkpoint_boot_time_ns_ = seams_.clock.boot_time().count();
  return {};
}

Result<std::uint64_t> JournalImpl::passed_by_all() {
  TRY(auto all, cursors());
  std::uint64_t passed = UINT64_MAX;
  for (const Cursor& cursor : all)
    if (!cursor.must_rescan) passed = std::min(passed, cursor.index);
  return passed;
}

Result<void> JournalImpl::retain() {
  auto database_lock = database_->lock();  // no cursor moves between the look at them and the drop
  TRY(const auto passed, passed_by_all());
  auto segments = catalogue_->list();
  segments.pop_back();  // the active one
  auto stored = catalogue_->stored_bytes();
  for (std::size_t at = 0; at < segments.size(); ++at) {
    const SegmentInfo& oldest = segments[at];
    const bool over_cap = stored > options_.retention_bytes;
    const bool done_with = oldest.last_index <= passed && segments.size() - at > options_.keep_sealed;
    // Past the checkpoint a power loss may make us apply it again: kept whatever the cap says.
    if (oldest.last_index > checkpoint_index_ || !(over_cap || done_with)) break;
    TRY(drop_segment(oldest));
    stored -= oldest.stored_bytes;
  }
  return {};
}

Result<void> JournalImpl::drop_segment(const SegmentInfo& segment) {
  const std::string name = segment.name().text();
  // Before the file is gone, so that no crash leaves a consumer that believes it missed nothing.
  TRY(auto slow, database_->cursors().must_rescan_below(segment.last_index));
  for (const std::string& cursor : slow)
    log::warning("changelog segment {} is dropped beyond the retention size: '{}' must rescan", name, cursor);
  TRY(disk().unlink(dir(), name).with("drop changelog segment {}", name));
  crash_point("changelog/retention-after-unlink");
  catalogue_->drop(segment.first_index);
  TRY(disk().fsync(dir()).with("sync the changelog's directory"));
  return database_->drop_segment(segment.first_index);
}

Result<void> JournalImpl::compress_due() {
  TRY(const auto passed, passed_by_all());
  const auto segments = catalogue_->list();
  for (std::size_t at = 0; at + 1 < segments.size(); ++at) {
    const bool two_newer = segments.size() - at > 2;
    if (segments[at].compressed || !(two_newer || segments[at].last_index <= passed)) continue;
    TRY(compress(segments[at]).with("compress changelog segment {}", segments[at].name().text()));
  }
  return {};
}

Result<void> JournalImpl::compress(const SegmentInfo& segment) {
  SegmentInfo compressed = segment;
  compressed.compressed = true;
  const std::string name = segment.name().text(), new_name = compressed.name().text();
  const std::string temporary = new_name + ".tmp";
  TRY(auto from, disk().open(dir(), name, O_RDONLY | O_NOFOLLOW));
  TRY(auto to, disk().open(dir(), temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  ContentHash hash;
  auto stored = compress_file(from, segment.bytes, to, hash);
  if (stored && hash.hex() != segment.content_xxh3_128)
    stored =
        Error(EUCLEAN).with("the content has changed since it was sealed; see `polder changelog verify`");
  if (!stored) {
    static_cast<void>(disk().unlink(dir(), temporary));  // the next attempt overwrites what stays
    return stored.error();
  }
  TRY(disk().fsync(to.fd()));
  crash_point("changelog/before-compress-rename");
  TRY(disk().rename(dir(), temporary, dir(), new_name));
  crash_point("changelog/after-compress-rename");
  compressed.stored_bytes = *stored;
  catalogue_->update(compressed);
  TRY(disk().fsync(dir()));
  TRY(database_->put_segment(compressed));
  return disk().unlink(dir(), name);
}

}  // namespace polder
