// SPDX-License-Identifier: GPL-3.0-or-later
// Opening a journal: what is there, what may be cut, where to go on.
#include <algorithm>

#include "base/hlc.h"
#include "base/log.h"
#include "base/page_cache.h"
#include "changelog/journal/journal_impl.h"

namespace polder {

Result<std::unique_ptr<Journal>> Journal::open(Seams& seams, const std::string& path,
                                               const JournalIdentity& identity,
                                               const JournalOptions& options) {
  auto journal = std::make_unique<JournalImpl>(seams, identity, options);
  TRY(journal->open_directory(path).with("changelog {}", path));
  return journal;
}

Result<void> JournalImpl::open_directory(const std::string& path) {
  TRY(own_directory(path));
  TRY(database_, JournalDatabase::open(disk(), dir(), path));
  TRY(in_flight_, InFlight::open(disk(), dir(), boot_id_));
  TRY(auto proven, proven_index());
  TRY(auto listing, list_segments(disk(), dir()));
  TRY(remove(listing.temporaries));
  if (listing.segments.empty()) {
    if (proven > 0 || in_flight_->low() > 0)
      return Error(EUCLEAN).with("the segments are missing: records up to {} were there",
                                 std::max(proven, in_flight_->low()));
    TRY(start_segment({identity_, 1, 1, seams_.hlc.next(), boot_id_}));
  } else {
    TRY(load_sealed(listing));
    TRY(remove(listing.superseded));
    TRY(load_newest(listing.segments.rbegin()->second, proven));
  }
  TRY(load_in_flight());
  opened_ = true;
  return {};
}

Result<void> JournalImpl::own_directory(const std::string& path) {
  auto made = seams_.disk.mkdir(Disk::kNoDir, path, 0700);
  if (!made && !made.error().is(EEXIST)) return std::move(made).with("make the directory");
  if (made) {
    TRY(auto parent, seams_.disk.open(Disk::kNoDir, path + "/..", O_RDONLY | O_DIRECTORY));
    TRY(seams_.disk.fsync(parent.fd()).with("sync the directory above"));
  }
  TRY(auto dir, seams_.disk.open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY).with("open"));
  auto locked = seams_.disk.lock_exclusive(dir.fd());
  if (locked.failed_with(EWOULDBLOCK)) return Error(EBUSY).with("another process has it open");
  TRY(std::move(locked));
  dir_ = std::make_shared<DiskFile>(std::move(dir));
  TRY(auto cache, page_cache(seams_.disk, {identity_.lineage, identity_.set}));
  boot_id_ = cache.id.substr(0, kBootIdBytes);
  cache_may_lie_ = cache.sync_failed;
  return {};
}

/// Cursors are at stable records only, a checkpoint is made after a sync.
Result<std::uint64_t> JournalImpl::proven_index() {
  std::uint64_t proven = 0;
  TRY(auto all, cursors());
  for (const Cursor& cursor : all) proven = std::max(proven, cursor.index);
  TRY(auto checkpoint, read_checkpoint(disk(), dir()));
  if (checkpoint) {
    checkpoint_index_ = checkpoint->index;
    proven = std::max(proven, checkpoint->index);
  }
  return proven;
}

Result<void> JournalImpl::load_sealed(const DirectoryListing& listing) {
  TRY(auto known, database_->segments());
  const auto newest = listing.segments.rbegin()->first;
  std::optional<SegmentInfo> previous;
  for (const auto& [first, name] : listing.segments) {
    if (first == newest) break;
    TRY(auto info, sealed_info(name, known));
    if (previous) {
      TRY(check_contiguous(*previous, info));
    }
    catalogue_->add(info);
    previous = info;
    known.erase(first);
  }
  // What was dropped, or was sealed once and is the newest again after its successor was lost.
  for (const auto& [first, info] : known) {
    TRY(database_->drop_segment(first));
  }
  return {};
}

/// From the database when that agrees with the file; otherwise by reading the segment.
Result<SegmentInfo> JournalImpl::sealed_info(const SegmentName& name,
                                             const std::map<std::uint64_t, SegmentInfo>& known) {
  TRY(auto status, disk().stat(dir(), name.text()).with("look at changelog segment {}", name.text()));
  auto found = known.find(name.first_index);
  if (found != known.end() && found->second.compressed == name.compressed &&
      found->second.stored_bytes == static_cast<std::uint64_t>(status.st_size))
    return found->second;
  TRY(auto scanned, scan_segment(disk(), dir(), name));
  if (scanned.stop) return damage_error({name.text(), scanned.info.bytes, scanned.stop->what});
  TRY(check_identity(name, scanned.header));
  scanned.info.sealed = true;
  scanned.info.content_xxh3_128 = scanned.hash.hex();
  TRY(database_->put_segment(scanned.info));
  return scanned.info;
}

Result<void> JournalImpl::check_identity(const SegmentName& name, const SegmentHeader& header) const {
  const JournalIdentity& there = header.identity;
  if (there.lineage != identity_.lineage || there.set != identity_.set)
    return Error(ESTALE).with("segment {} is of lineage {} set {}, not of lineage {} set {}", name.text(),
                              there.lineage.hex(), there.set, identity_.lineage.hex(), identity_.set);
  if (there.term > identity_.term)
    return Error(ESTALE).with("segment {} is of term {}, later than term {}", name.text(), there.term,
                              identity_.term);
  return {};
}

Result<void> JournalImpl::load_newest(const SegmentName& name, std::uint64_t proven) {
  if (name.compressed)
    return damage_error({name.text(), 0, "is sealed, but the segment after it is missing"});
  TRY(auto scanned, scan_segment(disk(), dir(), name));
  TRY(check_identity(name, scanned.header));
  const auto sealed = catalogue_->list();
  if (!sealed.empty()) {
    TRY(check_contiguous(sealed.back(), scanned.info));
  }

  TRY(auto file, disk().open(dir(), name.text(), O_RDWR | O_NOFOLLOW).with("open {}", name.text()));
  const bool cut = scanned.stop.has_value();
  if (cut) {
    TRY(check_torn_tail(disk(), dir(), scanned, {boot_id_, proven}));
    TRY(cut_tail(file, scanned));
  } else if (scanned.info.stored_bytes > scanned.info.bytes) {  // zeros
    TRY(disk().truncate(file.fd(), scanned.info.bytes).with("cut {}", name.text()));
    scanned.info.stored_bytes = scanned.info.bytes;
  }
  if (scanned.info.last_index < proven ||
      (in_flight_->same_boot() && in_flight_->low() > scanned.info.last_index))
    return damage_error({name.text(), scanned.info.bytes,
                         fmt::format("the log ends with record {}, but record {} was there",
                                     scanned.info.last_index, std::max(proven, in_flight_->low()))});
  if (cache_may_lie_ && scanned.header.boot_id != boot_id_) {
    TRY(write_again(disk(), file.fd(), 0, scanned.info.bytes).with("write {} again", name.text()));
  }
  TRY(durable(disk().fdatasync(file.fd())).with("sync {}", name.text()));
  active_ = std::make_unique<Active>(std::move(file), scanned.header, std::move(scanned.hash),
                                     scanned.info.last_hlc);
  catalogue_->add(scanned.info, std::move(scanned.points));
  catalogue_->set_stable(scanned.info.last_index);
  seams_.hlc.observe_own(scanned.info.last_hlc);
  return continue_log();
}

Result<void> JournalImpl::cut_tail(const DiskFile& file, ScannedSegment& scanned) {
  SegmentInfo& info = scanned.info;
  log::warning("changelog segment {}: cut {} bytes at byte {} that were not synced: {}", info.name().text(),
               info.stored_bytes - info.bytes, info.bytes, scanned.stop->what);
  TRY(disk().truncate(file.fd(), info.bytes).with("cut {}", info.name().text()));
  TRY(durable(disk().fsync(file.fd())).with("sync {}", info.name().text()));
  info.stored_bytes = info.bytes;
  scanned.stop.reset();
  return {};
}

/// A segment is of one term and one incarnation. An empty one is replaced: its successor has the same name.
Result<void> JournalImpl::continue_log() {
  SegmentHeader header = active_->header;
  const bool same_boot = header.boot_id == boot_id_;
  if (same_boot && header.identity.term == identity_.term) return {};
  header.identity = identity_;
  if (!same_boot) ++header.incarnation;
  header.boot_id = boot_id_;
  header.created = seams_.hlc.next();
  SegmentInfo sealed = catalogue_->active();
  header.first_index = sealed.last_index + 1;
  const bool empty = sealed.records() == 0;
  sealed.sealed = true;
  sealed.content_xxh3_128 = active_->hash.hex();
  TRY(start_segment(header));
  if (empty) return {};
  catalogue_->update(sealed);
  return database_->put_segment(sealed);
}

Result<void> JournalImpl::load_in_flight() {
  // The oldest record may be past the checkpoint only where the checkpoint is lost: what retention dropped
  // was applied and durable.
  checkpoint_index_ = std::max(checkpoint_index_.load(), catalogue_->first_index() - 1);
  const bool known = in_flight_->same_boot() && in_flight_->low() + 1 >= catalogue_->first_index();
  return known ? Result<void>() : in_flight_->reset(checkpoint_index_);
}

Result<void> JournalImpl::remove(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    TRY(disk().unlink(dir(), name).with("remove the leftover {}", name));
  }
  return {};
}

}  // namespace polder
