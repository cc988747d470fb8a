// SPDX-License-Identifier: GPL-3.0-or-later
// Store: bytes. And apply(), the table of all kinds.
#include <linux/falloc.h>

#include <algorithm>

#include "base/crash_point.h"
#include "core-volume/layers/store/store.h"

namespace polder {
namespace {

constexpr std::size_t kCopyBytes = 1 << 20;

/// In whole pages: what is cut or punched out of one leaves zeros in the rest of it.
std::optional<std::pair<std::uint64_t, std::uint64_t>> changed_bytes(const Record& record) {
  constexpr std::uint64_t kPageBytes = 4096;
  const auto pages = [](std::uint64_t begin, std::uint64_t end) {
    return std::pair(begin / kPageBytes * kPageBytes, (end + kPageBytes - 1) / kPageBytes * kPageBytes);
  };
  switch (record.kind) {
    case RecordKind::kWrite:
    case RecordKind::kPunch:
    case RecordKind::kZero:
      return pages(record.offset, record.offset + record.length);
    case RecordKind::kTruncate:
      return pages(record.length, record.length);
    default:
      return {};
  }
}

}  // namespace

Result<void> Store::apply(const Record& record, const ApplyHints& hints) {
  TRY(refuse_if_read_only());
  if (record.tx.phase == TxPhase::kPrepared) return {};  // nothing has happened
  switch (record.kind) {
    case RecordKind::kWrite:
      return apply_write(record, record.data.bytes());
    case RecordKind::kTruncate:
    case RecordKind::kFallocate:
    case RecordKind::kPunch:
    case RecordKind::kZero:
      return apply_destructive(record);
    case RecordKind::kCreate:
      return apply_create(record);
    case RecordKind::kLink:
      return apply_link(record);
    case RecordKind::kUnlink:
      return apply_unlink(record, hints);
    case RecordKind::kRename:
      return apply_rename(record, hints);
    case RecordKind::kSetattr:
      return apply_setattr(record);
    case RecordKind::kXattr:
      return apply_xattr(record);
    case RecordKind::kRemoved:
      return apply_removed(record);
    case RecordKind::kApplied:
      return apply_fact("applied", record.text, record.value);
    case RecordKind::kMeta:
      return apply_fact("fact", record.key, record.value);
    case RecordKind::kMark:
    case RecordKind::kRestored:
    case RecordKind::kClosed:
    case RecordKind::kTxAborted:
    case RecordKind::kTxClosed:
    case RecordKind::kFoundBegin:
    case RecordKind::kFoundEnd:
      return {};  // about the log, not about the tree
    case RecordKind::kListed:
      return {};  // for followers: it was found here
  }
  return Error(EUCLEAN).with("record {} has unknown kind {}", record.index, static_cast<int>(record.kind));
}

/// Bytes as of `record` would undo what a destructive record after it did, if that was applied already (which
/// then was this one, too): folding a tail again leaves the bytes alone, and sets the times all the same.
bool Store::bytes_are_newer(const layout::Meta& meta, const Record& record) {
  return record.index != 0 && meta.destructive_index >= record.index &&
         (meta.destructive_hlc_ns == 0 || meta.destructive_hlc_ns >= record.hlc.ns);
}

/// Without `data` (folded again, and the bytes were not in the log) only the times.
Result<void> Store::apply_write(const Record& record, ConstBytes data) {
  TRY(refuse_if_read_only());
  auto lock = stripes_.exclusive({Stripes::object(record.gfid)});
  auto fd = file(record.gfid);
  if (fd.failed_with(ESTALE)) return {};
  if (!fd) return std::move(fd).error();
  Object object{*fd, {}, {}};
  if (!data.empty()) {
    TRY(auto meta, meta_of(object));
    Result<void> written;
    if (!bytes_are_newer(meta, record)) written = disk_.pwrite((*fd)->fd(), data, record.offset);
    if (!written) {  // a part of the bytes may be there: then the times must tell
      (void)set_times(object, {0, UTIME_OMIT}, layout::to_timespec(record.time_ns));
      return written;
    }
  }
  return set_times(object, {0, UTIME_OMIT}, layout::to_timespec(record.time_ns));
}

Result<void> Store::write_again(const Record& record) {
  auto extent = changed_bytes(record);
  if (!extent) return {};
  auto lock = stripes_.exclusive({Stripes::object(record.gfid)});
  auto fd = file(record.gfid);
  if (fd.failed_with(ESTALE)) return {};
  if (!fd) return std::move(fd).error();
  TRY(auto before, disk_.fstat((*fd)->fd()));
  TRY(polder::write_again(disk_, (*fd)->fd(), extent->first, extent->second));
  return set_times({*fd, {}, {}}, {0, UTIME_OMIT}, before.st_mtim);
}

Result<void> Store::apply_copy(const Record& record, const Gfid& from, std::uint64_t from_offset) {
  TRY(refuse_if_read_only());
  TRY(auto source, shared_file(from));
  auto lock = stripes_.exclusive({Stripes::object(record.gfid)});
  TRY(auto target, file(record.gfid));
  auto cloned = disk_.clone_range(source->fd(), from_offset, target->fd(), record.offset, record.length);
  std::vector<std::byte> buffer(cloned ? 0 : std::min<std::uint64_t>(kCopyBytes, record.length));
  for (std::uint64_t done = 0; !cloned && done < record.length;) {
    auto want = std::min<std::uint64_t>(buffer.size(), record.length - done);
    TRY(auto size, disk_.pread(source->fd(), Bytes(buffer).first(want), from_offset + done));
    if (size == 0) break;
    TRY(disk_.pwrite(target->fd(), ConstBytes(buffer).first(size), record.offset + done));
    done += size;
  }
  timespec times[2] = {{0, UTIME_OMIT}, layout::to_timespec(record.time_ns)};
  return disk_.set_times(target->fd(), times);
}

Result<void> Store::apply_destructive(const Record& record) {
  auto lock = stripes_.exclusive({Stripes::object(record.gfid)});
  auto fd = file(record.gfid);
  if (fd.failed_with(ESTALE)) return {};
  if (!fd) return std::move(fd).error();
  Object object{*fd, {}, {}};
  TRY(auto meta, meta_of(object));
  if (!bytes_are_newer(meta, record)) {
    TRY(change_extent(*fd, record));
  }
  crash_point("store/after-truncate");
  auto time = layout::to_timespec(record.time_ns);
  TRY(set_times(object, {0, UTIME_OMIT}, time));
  meta.ctime_ns = record.time_ns;
  meta.mtime = time;
  if (!bytes_are_newer(meta, record)) {
    meta.destructive_index = record.index;
    meta.destructive_hlc_ns = record.hlc.ns;
  }
  return set_meta(object, meta);
}

Result<void> Store::change_extent(const FdRef& file, const Record& record) {
  const int keep_size = record.keep_size ? FALLOC_FL_KEEP_SIZE : 0;
  Result<void> done;
  switch (record.kind) {
    case RecordKind::kTruncate:
      return disk_.truncate(file->fd(), record.length);
    case RecordKind::kFallocate:
      return disk_.fallocate(file->fd(), keep_size, record.offset, record.length);
    case RecordKind::kPunch:
      done = disk_.fallocate(file->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, record.offset,
                             record.length);
      break;
    default:
      done = disk_.fallocate(file->fd(), FALLOC_FL_ZERO_RANGE | keep_size, record.offset, record.length);
  }
  // The record says what the bytes are, not how the file system stores them: a secondary's may not have this.
  if (done.failed_with(EOPNOTSUPP)) return zero_by_hand(file, record);
  return done;
}

Result<void> Store::zero_by_hand(const FdRef& file, const Record& record) {
  TRY(auto native, disk_.fstat(file->fd()));
  const auto size = static_cast<std::uint64_t>(native.st_size);
  const auto end = record.offset + record.length;
  const std::vector<std::byte> zeros(kCopyBytes);
  for (auto at = record.offset; at < std::min(end, size);) {
    auto length = std::min<std::uint64_t>(zeros.size(), std::min(end, size) - at);
    TRY(disk_.pwrite(file->fd(), ConstBytes(zeros).first(length), at));
    at += length;
  }
  bool grows = record.kind == RecordKind::kZero && !record.keep_size && end > size;
  if (grows) return disk_.truncate(file->fd(), end);
  return {};
}

Result<void> Store::reserve(const Gfid& gfid, std::uint64_t offset, std::uint64_t length) {
  TRY(refuse_if_read_only());
  TRY(auto fd, shared_file(gfid));
  return disk_.fallocate(fd->fd(), FALLOC_FL_KEEP_SIZE, offset, length);
}

Result<void> Store::cut_back(const Gfid& gfid, std::uint64_t size) {
  TRY(refuse_if_read_only());
  auto lock = stripes_.exclusive({Stripes::object(gfid)});
  auto fd = file(gfid);
  if (fd.failed_with(ESTALE)) return {};
  if (!fd) return std::move(fd).error();
  TRY(auto native, disk_.fstat((*fd)->fd()));
  if (static_cast<std::uint64_t>(native.st_size) <= size) return {};
  return disk_.truncate((*fd)->fd(), size);
}

}  // namespace polder
