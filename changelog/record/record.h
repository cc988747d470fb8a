// SPDX-License-Identifier: GPL-3.0-or-later
// Record: one change of a set, as its result, exactly and absolutely. Format on disk:
// docs/formats/changelog.md.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/gfid.h"
#include "base/hlc.h"

namespace polder {

enum class RecordKind : std::uint8_t {
  // Data: "these bytes may have changed". gfid, offset, length, sometimes the data itself. `keep_size`: an
  // append, placed by the brick (its recovery cuts off what a killed one without data left).
  kWrite = 1,
  // Destructive data records, applied in full from the record.
  kTruncate = 2,   // length: the new size
  kFallocate = 3,  // offset, length; `keep_size`
  kPunch = 4,
  kZero = 5,  // `keep_size`
  // Names and attributes. Each carries the full post-state it needs.
  kCreate = 16,   // gfid, name, state: any type of object
  kLink = 17,     // gfid, name
  kUnlink = 18,   // gfid, name; `last_link`: the object has no other name. rmdir too
  kRename = 19,   // gfid, name → to; `displaced` was at `to` before (moved to `name` when `exchange`);
                  // `last_link` is its
  kSetattr = 20,  // gfid, state: mode, uid, gid, atime, mtime — all of them, whatever changed
  kXattr = 21,    // gfid, key, value (absent: removed); state.mode, since an ACL changes it
  // About the log itself.
  kMark = 32,      // text: name of the mark (a snapshot)
  kRestored = 33,  // text: name of the mark the volume went back to; offset: that mark's index
  kClosed = 34,    // hlc: no record at or below it will follow
  kApplied = 35,   // text: geo-replication session; value: its position on the primary (georep/protocol)
  kRemoved = 36,   // gfid: the object is gone, whatever names it had (rescan, orphans)
  kMeta = 37,  // key, value: a fact about the volume that must travel with the log (read-only, superseded)
  // About changes of several sets (TxPhase).
  kTxAborted = 38,  // tx: what was prepared here does not happen
  kTxClosed = 39,  // tx: of those that this set leads, all below this one are stable wherever they had a part
  // What a start after a power loss has found and no record told of (core-volume/layers/ordering/found.cc).
  kListed = 40,      // gfid: a directory that has, of all possible names, these (listed.h)
  kFoundBegin = 41,  // what follows describes a part of the volume as it is, object by object …
  kFoundEnd = 42,    // … and here everything is as the log says
};

/// A change that touches several sets. Its number is an HLC of the leading set: unique there, and rising.
struct TxId {
  std::uint32_t set = 0;
  std::uint64_t number = 0;  // 0: no transaction
  auto operator<=>(const TxId&) const = default;
};

/// What a record of a transaction is. Only kDecided is history to followers outside the set: it carries the
/// whole change, and stands in the log of the set that leads.
enum class TxPhase : std::uint8_t {
  kNone,      // a change of one set
  kPrepared,  // may happen: this set holds its part's names and objects until it knows. Nothing to apply
  kDecided,   // happened; applied here as far as this set owns it
  kEcho,      // the same in the log of another set that has a part
};

struct TxInfo {
  TxId id;
  TxPhase phase = TxPhase::kNone;
  bool locks_tree = false;               // a directory changes its parent
  std::vector<std::uint32_t> sets = {};  // that have a part, the leading one included; of kDecided and kEcho
  // Types (S_IFMT) of the objects, for sets that have a name of theirs only.
  std::uint32_t mode = 0;
  std::uint32_t displaced_mode = 0;
};

struct EntryName {
  Gfid parent;
  std::string name;
  auto operator<=>(const EntryName&) const = default;
};

struct ObjectState {
  std::uint32_t mode = 0;  // with type bits
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t rdev_major = 0;
  std::uint32_t rdev_minor = 0;
  timespec atime{};
  timespec mtime{};
  std::string target;                         // symlinks
  std::map<std::string, std::string> xattrs;  // of a new object: inherited ACLs; of a scanned one: all
};

/// time_ns of a record that tells no time: directories and objects keep the times they have.
inline constexpr std::uint64_t kNoTime_ns = 1;

struct Record {
  // Identity. Filled by Journal::append; (lineage, set, term) are the segment's (JournalPosition).
  std::uint64_t index = 0;
  Hlc hlc{};
  std::uint32_t session = 0;
  std::uint64_t sequence = 0;  // < 2^48

  RecordKind kind{};
  bool last_link = false;
  bool exchange = false;
  bool keep_size = false;

  /// Every time that the change implies (ctime of the object, mtime of a written file, mtime and ctime of the
  /// parents): nanoseconds since the epoch. Equal to `hlc` where the change was first made; the origin's on a
  /// secondary.
  std::uint64_t time_ns = 0;

  Gfid gfid;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  /// kWrite: the bytes, when they travel in the log (changelog.inline-data); then data.size() == length.
  Buffer data;

  EntryName name;
  EntryName to;
  Gfid displaced;
  ObjectState state;
  std::string key;
  std::optional<std::string> value;
  std::string text;
  TxInfo tx;

  bool is_data() const { return kind == RecordKind::kWrite; }
  /// Of what takes a name from an object: that object, which `last_link` is about.
  const Gfid& victim() const { return kind == RecordKind::kRename ? displaced : gfid; }
  /// Part of the volume's history for whoever follows this log from outside; the rest is between sets.
  bool is_history() const {
    return tx.phase != TxPhase::kPrepared && tx.phase != TxPhase::kEcho && kind != RecordKind::kTxAborted &&
           kind != RecordKind::kTxClosed;
  }
};

std::string_view to_string(RecordKind kind);

}  // namespace polder
