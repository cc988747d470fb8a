// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/record/record.h"

namespace polder {

std::string_view to_string(RecordKind kind) {
  switch (kind) {
    case RecordKind::kWrite:
      return "write";
    case RecordKind::kTruncate:
      return "truncate";
    case RecordKind::kFallocate:
      return "fallocate";
    case RecordKind::kPunch:
      return "punch";
    case RecordKind::kZero:
      return "zero";
    case RecordKind::kCreate:
      return "create";
    case RecordKind::kLink:
      return "link";
    case RecordKind::kUnlink:
      return "unlink";
    case RecordKind::kRename:
      return "rename";
    case RecordKind::kSetattr:
      return "setattr";
    case RecordKind::kXattr:
      return "xattr";
    case RecordKind::kMark:
      return "mark";
    case RecordKind::kRestored:
      return "restored";
    case RecordKind::kClosed:
      return "closed";
    case RecordKind::kApplied:
      return "applied";
    case RecordKind::kRemoved:
      return "removed";
    case RecordKind::kMeta:
      return "meta";
    case RecordKind::kTxAborted:
      return "tx-aborted";
    case RecordKind::kTxClosed:
      return "tx-closed";
    case RecordKind::kListed:
      return "listed";
    case RecordKind::kFoundBegin:
      return "found-begin";
    case RecordKind::kFoundEnd:
      return "found-end";
  }
  return "unknown";
}

}  // namespace polder
