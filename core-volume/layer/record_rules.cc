// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/record_rules.h"

#include "changelog/record/listed.h"
#include "core-volume/layer/posix_rules.h"

namespace polder {

namespace {

Result<void> check_time(const timespec& time) {
  if (time.tv_nsec < 0 || time.tv_nsec >= 1'000'000'000) return Error(EINVAL).with("nanoseconds of a time");
  return {};
}

Result<void> check_entry(const EntryName& entry) {
  if (entry.parent.is_nil()) return Error(EINVAL).with("entry without a parent");
  return check_name(entry.name).with("name of an entry");
}

Result<void> check_entry_object(const Gfid& gfid) {
  if (gfid == Gfid::root()) return Error(EINVAL).with("the root as an entry");
  return {};
}

Result<void> check_value(std::string_view key, std::string_view value) {
  if (value.size() > kXattrValueMax_bytes) return Error(E2BIG).with("value of xattr {}", key);
  if (!is_acl_key(key)) return {};
  TRY(std::optional<Acl> acl, parse_acl(value));
  if (!acl) return Error(EINVAL).with("empty ACL in {}", key);
  return {};
}

Result<void> check_key(std::string_view key) {
  TRY(check_xattr_key(key));
  if (is_private_xattr(key)) return Error(EPERM).with("xattr {} in a record", key);
  return {};
}

Result<void> check_type(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      break;
    default:
      return Error(EINVAL).with("mode {:#o}", mode);
  }
  if (mode & ~(S_IFMT | 07777u)) return Error(EINVAL).with("mode {:#o}", mode);
  return {};
}

/// What a kSetattr record says: a symlink's has no target, since that never changes.
Result<void> check_attributes(const ObjectState& state) {
  TRY(check_type(state.mode));
  TRY(check_time(state.atime));
  return check_time(state.mtime);
}

Result<void> check_state(const ObjectState& state) {
  TRY(check_attributes(state));
  if (S_ISLNK(state.mode)) {
    if (state.target.empty() || state.target.size() > kSymlinkMax_bytes)
      return Error(EINVAL).with("symlink target");
    if (state.target.find('\0') != std::string::npos) return Error(EINVAL).with("NUL in a symlink target");
  }
  for (const auto& [key, value] : state.xattrs) {
    TRY(check_key(key));
    TRY(check_value(key, value));
  }
  return {};
}

Result<void> check_entry_record(const Record& record) {
  if (record.kind == RecordKind::kCreate) {
    TRY(check_state(record.state));
    // Objects and names are separate things in a scan: its names come as kLink records. The root has a state,
    // too.
    const bool nameless = record.name.parent.is_nil() && record.name.name.empty();
    if (nameless && (record.gfid != Gfid::root() || S_ISDIR(record.state.mode))) return {};
  }
  TRY(check_entry_object(record.gfid));
  return check_entry(record.name);
}

Result<void> check_rename_record(const Record& record) {
  TRY(check_entry_object(record.gfid));
  TRY(check_entry_object(record.displaced));
  TRY(check_entry(record.name));
  TRY(check_entry(record.to));
  if (record.exchange && record.displaced.is_nil()) return Error(EINVAL).with("exchange with nothing");
  if (record.displaced == record.gfid) return Error(EINVAL).with("object displaced by itself");
  return {};
}

Result<void> check_xattr_record(const Record& record) {
  TRY(check_key(record.key));
  if (record.value) {
    TRY(check_value(record.key, *record.value));
  }
  return check_type(record.state.mode);
}

Result<void> check_body(const Record& record) {
  switch (record.kind) {
    case RecordKind::kWrite:
      if (!record.data.empty() && record.data.size() != record.length)
        return Error(EINVAL).with("length of data");
      return check_extent(record.offset, record.length);
    case RecordKind::kFallocate:
    case RecordKind::kPunch:
    case RecordKind::kZero:
      return check_extent(record.offset, record.length);
    case RecordKind::kTruncate:
      return check_extent(record.length, 0);
    case RecordKind::kCreate:
    case RecordKind::kLink:
    case RecordKind::kUnlink:
      return check_entry_record(record);
    case RecordKind::kRename:
      return check_rename_record(record);
    case RecordKind::kSetattr:
      return check_attributes(record.state);
    case RecordKind::kXattr:
      return check_xattr_record(record);
    case RecordKind::kRemoved:
      return check_entry_object(record.gfid);
    case RecordKind::kListed: {
      TRY(listed_of(record));
      return {};
    }
    case RecordKind::kMark:
    case RecordKind::kRestored:
    case RecordKind::kClosed:
    case RecordKind::kApplied:
    case RecordKind::kMeta:
    case RecordKind::kTxAborted:
    case RecordKind::kTxClosed:
    case RecordKind::kFoundBegin:
    case RecordKind::kFoundEnd:
      return {};
  }
  return Error(EINVAL).with("unknown kind {}", static_cast<unsigned>(record.kind));
}

}  // namespace

bool is_about_object(RecordKind kind) {
  return kind < RecordKind::kMark || kind == RecordKind::kRemoved || kind == RecordKind::kListed;
}

Result<void> check_record(const Record& record) {
  if (is_about_object(record.kind) && record.gfid.is_nil())
    return Error(EINVAL).with("record {} ({}): no gfid", record.index, to_string(record.kind));
  return check_body(record).with("record {} ({})", record.index, to_string(record.kind));
}

Result<void> check_replayable(const Record& record) {
  TRY(check_record(record));
  if (!record.is_history())
    return Error(EINVAL).with("record {} ({}) is of a set's own business", record.index,
                              to_string(record.kind));
  if (record.kind == RecordKind::kWrite && record.length != 0 && record.data.empty())
    return Error(EINVAL).with("record {} (write) has no data: nothing could be replayed", record.index);
  return {};
}

}  // namespace polder
