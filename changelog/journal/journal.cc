// SPDX-License-Identifier: GPL-3.0-or-later
// Append, sync, seal.
#include "changelog/journal/journal.h"

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "base/page_cache.h"
#include "changelog/journal/journal_impl.h"
#include "changelog/record/codec.h"

namespace polder {

JournalImpl::~JournalImpl() {
  if (!opened_ || failed_) return;
  std::lock_guard lock(maintain_mutex_);
  auto closed = take_checkpoint(true);
  if (closed) closed = cut_zeros();
  if (!closed) log::warning("close the changelog: {}", closed.error().message());
}

Result<void> JournalImpl::check_usable() const {
  if (!failed_) return {};
  return Error(EIO).with("the changelog takes no more records after a failed write; it must be reopened");
}

bool JournalImpl::active_is_full() const {
  return catalogue_->active_bytes() >= options_.segment_bytes;
}

Result<std::uint64_t> JournalImpl::append(Record& record) {
  crash_point("changelog/before-append");
  if (active_is_full()) {
    TRY(seal_if([this] { return active_is_full(); }));
  }
  {
    std::lock_guard lock(append_mutex_);
    TRY(append_locked(record));
  }
  crash_point("changelog/after-append");
  return record.index;
}

Result<void> JournalImpl::append_locked(Record& record) {
  TRY(check_usable());
  const auto index = catalogue_->appended() + 1;
  if (index > in_flight_->low() + kMaxInFlight)
    return Error(ENOBUFS).with("{} records are appended and not yet applied", kMaxInFlight);
  const auto before = std::tuple(record.index, record.hlc, record.time_ns);
  record.index = index;
  record.hlc = seams_.hlc.next();
  if (record.time_ns == 0) record.time_ns = record.hlc.ns;
  auto written = check_rises(record);
  if (written) written = write_record(record);
  if (!written) std::tie(record.index, record.hlc, record.time_ns) = before;
  return written;
}

/// A reader takes a stamp that does not rise for damage: such a log could not be opened any more.
Result<void> JournalImpl::check_rises(const Record& record) {
  if (record.hlc > active_->last_hlc) return {};
  failed_ = true;
  return Error(EUCLEAN).with("record {} would have time stamp {}, but the log has reached {}", record.index,
                             record.hlc.ns, active_->last_hlc.ns);
}

Result<void> JournalImpl::write_record(const Record& record) {
  TRY(auto encoded, encode_record(record, active_->header.first_index));
  const auto pieces = encoded.pieces();
  const auto end = catalogue_->active_bytes();
  auto written = disk().pwritev(active_->file.fd(), pieces, end);
  if (!written) {
    // What was written of it must go, or the next record would follow a torn one.
    auto undone = disk().truncate(active_->file.fd(), end);
    if (undone) active_->zeroed_bytes = end;
    if (!undone || written.error().is(EIO)) failed_ = true;
    return std::move(written).with("append record {} to the changelog", record.index);
  }
  for (ConstBytes piece : pieces) active_->hash.update(piece);
  active_->last_hlc = record.hlc;
  catalogue_->appended_record(record.index, record.hlc, encoded.size());
  return {};
}

Result<void> JournalImpl::sync() {
  const auto target = catalogue_->appended();
  const auto before = catalogue_->stable();
  if (before >= target) return check_usable();
  {
    // Whoever waits here usually finds that the one before has synced for both.
    std::lock_guard lock(sync_mutex_);
    if (catalogue_->stable() < target) {
      TRY(sync_locked());
    }
  }
  tell_stable(before);
  // Here somebody waits for the disk anyway. append() finds room then, and need not sync by itself.
  const auto nearly_full = [&] { return catalogue_->active_bytes() >= options_.segment_bytes / 8 * 7; };
  if (!nearly_full()) return {};
  auto sealed = seal_if(nearly_full);
  if (!sealed) log::warning("seal a changelog segment ahead of time: {}", sealed.error().message());
  return {};
}

Result<void> JournalImpl::sync_locked() {
  TRY(check_usable());
  std::uint64_t upto;
  {
    std::lock_guard lock(append_mutex_);
    put_zeros_ahead();
    upto = catalogue_->appended();
  }
  return sync_active(upto);
}

/// Syncing a file that has become longer costs a second wait, for the file system's own journal: twice the
/// time of syncing bytes for which there was room. So somebody who syncs often gets room, and pays once for
/// many records. Zeros, since only what was written before is room to all file systems. What a segment's end
/// is does not change: recovery.cc. sync_mutex_ and append_mutex_ are held.
void JournalImpl::put_zeros_ahead() {
  static constexpr std::array<std::byte, 64 * 1024> kZeros{};
  constexpr std::uint64_t kAheadBytes = 4 * kZeros.size();
  const auto end = catalogue_->active_bytes();
  const bool often = end - active_->synced_bytes < kZeros.size();
  active_->synced_bytes = end;
  auto from = std::max(end, active_->zeroed_bytes);
  if (!often || from - end >= kZeros.size() || from >= options_.segment_bytes) return;
  const auto upto = std::min(end + kAheadBytes, options_.segment_bytes);
  while (from < upto) {
    const auto size = std::min<std::uint64_t>(upto - from, kZeros.size());
    active_->zeroed_bytes = from + size;  // or less, if there is no room: then all goes on without
    if (!disk().pwrite(active_->file.fd(), ConstBytes(kZeros).first(size), from)) return;
    from += size;
  }
}

/// Both mutexes are held, or nobody else is there.
Result<void> JournalImpl::cut_zeros() {
  const auto end = catalogue_->active_bytes();
  if (active_->zeroed_bytes <= end) return {};
  TRY(disk().truncate(active_->file.fd(), end).with("cut the zeros off a changelog segment"));
  active_->zeroed_bytes = end;
  return {};
}

/// Everything before the active segment has been synced when it was sealed.
Result<void> JournalImpl::sync_active(std::uint64_t upto) {
  TRY(durable(disk().fdatasync(active_->file.fd())).with("sync the changelog"));
  catalogue_->set_stable(upto);
  return {};
}

Result<void> JournalImpl::durable(Result<void> synced) {
  if (!synced) sync_failed();
  return synced;
}

void JournalImpl::sync_failed() {
  failed_ = true;
  if (!sync_failed_.exchange(true)) distrust_page_cache(seams_.disk, {identity_.lineage, identity_.set});
}

void JournalImpl::tell_stable(std::uint64_t before) {
  const auto stable = catalogue_->stable();
  if (stable <= before) return;
  std::function<void(std::uint64_t)> listener;
  {
    std::lock_guard lock(listener_mutex_);
    listener = listener_;
  }
  if (listener) listener(stable);
}

Result<void> JournalImpl::seal_if(const std::function<bool()>& wanted) {
  const auto before = catalogue_->stable();
  std::uint64_t first_index = 0;
  {
    std::lock_guard sync_lock(sync_mutex_);
    if (!wanted() || catalogue_->active().records() == 0) return {};
    TRY(sync_locked());  // the bulk of it, while appends go on
    std::lock_guard append_lock(append_mutex_);
    TRY(check_usable());
    TRY(cut_zeros());
    TRY(sync_active(catalogue_->appended()));
    first_index = catalogue_->active().first_index;
    TRY(seal_locked());
  }
  tell_stable(before);
  auto sealed = catalogue_->find(first_index);
  if (!sealed) return {};
  // Derived: when this fails, the next open reads the segment instead.
  auto noted = database_->put_segment(*sealed);
  if (!noted) log::warning("note a sealed changelog segment: {}", noted.error().message());
  return {};
}

/// The active segment is synced, and both mutexes are held.
Result<void> JournalImpl::seal_locked() {
  crash_point("changelog/before-seal");
  SegmentInfo sealed = catalogue_->active();
  sealed.sealed = true;
  sealed.content_xxh3_128 = active_->hash.hex();
  SegmentHeader header = active_->header;
  header.first_index = sealed.last_index + 1;
  header.created = seams_.hlc.next();
  TRY(start_segment(header));
  catalogue_->update(sealed);
  crash_point("changelog/after-seal");
  return {};
}

/// Makes the file durable under its name and appends to it from now on. An error before it has its name
/// leaves everything as it was.
Result<void> JournalImpl::start_segment(const SegmentHeader& header) {
  const std::string name = SegmentName{header.first_index, false}.text();
  const std::string temporary = name + ".tmp";
  const auto content = encode_segment_header(header);
  auto file = disk().open(dir(), temporary, O_RDWR | O_CREAT | O_TRUNC, 0600).with("create {}", temporary);
  TRY(auto opened, std::move(file));
  TRY(disk().pwrite(opened.fd(), content, 0).with("write {}", temporary));
  TRY(disk().fsync(opened.fd()).with("sync {}", temporary));
  auto named = disk().rename(dir(), temporary, dir(), name).with("name changelog segment {}", name);
  if (named) named = durable(disk().fsync(dir())).with("sync the changelog's directory");
  if (!named) {
    failed_ = true;  // two segments may claim the next index: only a reopening can tell which is right
    return named;
  }
  auto active = std::make_unique<Active>(std::move(opened), header);
  active->hash.update(content);
  active->last_hlc = header.created;
  active_ = std::move(active);
  SegmentInfo info;
  info.first_index = header.first_index;
  info.last_index = header.first_index - 1;
  info.first_hlc = info.last_hlc = header.created;
  info.bytes = info.stored_bytes = kSegmentHeaderBytes;
  info.term = header.identity.term;
  catalogue_->add(info);
  return {};
}

Result<void> JournalImpl::applied(std::uint64_t index) {
  if (index == 0 || index > catalogue_->appended())
    return Error(EINVAL).with("record {} has not been appended", index);
  return in_flight_->applied(index);
}

Result<std::vector<Record>> JournalImpl::unapplied() {
  std::vector<Record> records;
  const auto upto = catalogue_->appended();
  const auto from = in_flight_->low() + 1;
  if (from > upto) return records;
  TRY(auto reader, read_from(from, true));
  for (auto index = from; index <= upto; ++index) {
    TRY(auto record, reader->next());
    if (!record) return Error(EUCLEAN).with("changelog record {} is not there", index);
    if (!in_flight_->is_applied(index)) records.push_back(std::move(*record));
  }
  return records;
}

JournalPosition JournalImpl::position(std::uint64_t index) const {
  auto segment = catalogue_->find(std::max(index, catalogue_->first_index()));
  return {identity_.lineage, identity_.set, segment ? segment->term : identity_.term, index};
}

void JournalImpl::on_stable(std::function<void(std::uint64_t)> listener) {
  std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
}

Result<std::unique_ptr<JournalReader>> JournalImpl::read_from(std::uint64_t index, bool upto_appended) {
  return make_journal_reader(dir_, catalogue_, index, upto_appended);
}

Result<void> JournalImpl::set_cursor(const std::string& name, std::uint64_t index) {
  if (index > catalogue_->stable())
    return Error(EINVAL).with("cursor '{}' at {} is past the last stable record {}", name, index,
                              catalogue_->stable());
  {
    auto lock = database_->lock();
    const bool is_new = !database_->cursors().names().contains(name);
    auto put = database_->cursors().put({name, index, index + 1 < catalogue_->first_index()});
    if (is_new) ++cursor_changes_;  // even if it failed: the name may be there
    if (!put || !is_new) return put;
  }
  return sync();
}

Result<void> JournalImpl::drop_cursor(const std::string& name) {
  auto lock = database_->lock();
  TRY(database_->cursors().drop(name));
  ++cursor_changes_;
  return {};
}

Result<std::vector<Cursor>> JournalImpl::cursors() {
  auto lock = database_->lock();
  return database_->cursors().list();
}

std::set<std::string> JournalImpl::cursor_names() {
  auto lock = database_->lock();
  return database_->cursors().names();
}

}  // namespace polder
