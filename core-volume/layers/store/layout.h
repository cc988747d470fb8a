// SPDX-License-Identifier: GPL-3.0-or-later
// Layout: names, extended attributes and packed values of a brick directory, as docs/formats/brick.md says.
// Pure functions; nothing here touches a disk.
#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/gfid.h"
#include "base/result.h"
#include "changelog/record/record.h"
#include "core-volume/layers/store/replaced.h"

namespace polder::layout {

// Below the brick's root.
inline constexpr const char* kDirs = "dirs";           // one directory per directory of the volume
inline constexpr const char* kRootLink = "root";       // for people: a symlink to the root's directory
inline constexpr const char* kState = ".polder";       // Polder's own
inline constexpr const char* kIndex = ".polder/gfid";  // ab/cd/<gfid>: a hard link of every non-directory
/// <parent gfid>/<name>: a hard link for each name of an object of ours that is in a directory of another
/// set, so that the file system counts it.
inline constexpr const char* kAway = ".polder/away";
inline constexpr const char* kTmp = ".polder/tmp";          // objects in the making; emptied at open
inline constexpr const char* kOrphans = ".polder/orphans";  // empty files named by gfid: unlinked, still open
inline constexpr const char* kReplaced = ".polder/replaced";  // names that objects had: replaced.h
inline constexpr const char* kChangelog = ".polder/changelog";
inline constexpr const char* kIdentity = ".polder/brick";
inline constexpr const char* kRestored = ".polder/restored";  // of a restored brick that has not yet started

// Extended attributes. All of them begin with kHidden and do not exist for users of the volume.
inline constexpr std::string_view kHidden = "trusted.polder.";
inline const std::string kMetaKey = "trusted.polder.meta";    // of every object: Meta
inline const std::string kDirKey = "trusted.polder.dir";      // of a subdirectory's entry: DirMark
inline const std::string kEntryKey = "trusted.polder.entry";  // of an entry of another set's file: EntryMark
inline const std::string kParentKey = "trusted.polder.parent";  // of a directory: where its entry is
inline const std::string kBootKey = "trusted.polder.boot";      // of .polder: boot id of the last start
inline const std::string kCleanKey =
    "trusted.polder.clean";  // of .polder: closed in order, everything synced
/// Of .polder: it lost power, and was not compared with the other sets since.
inline const std::string kSuspectKey = "trusted.polder.suspect";
inline const std::string kLossKey = "trusted.polder.loss";  // of .polder: boot id after its last power loss
/// Of .polder: the HLC up to which the log has every change; absent: all of it. Set by a start after a power
/// loss, until it has logged what it found (ordering/found.cc).
inline const std::string kUnloggedKey = "trusted.polder.unlogged";
/// Of .polder: nanoseconds by which stamps were ahead of this machine's clock, at most; absent: never by more
/// than Store::kClockLead_ns since the log had everything.
inline const std::string kClockLeadKey = "trusted.polder.clock-lead";
inline const std::string kBrickKey = "trusted.polder.brick";  // of the brick's root: the identity file's text

/// What an inode does not say by itself.
///
/// ctime rule: the object's ctime is `ctime_ns` while its native mtime equals `mtime`, and the native mtime
/// otherwise. So a data write or a new name in a directory, whose mtime and ctime are the same new stamp,
/// needs one utimensat and no write of this attribute.
struct Meta {
  Gfid gfid;
  std::uint64_t ctime_ns = 0;
  timespec mtime{};
  /// Index and HLC of the last destructive data record (truncate, fallocate, punch, zero) applied: an older
  /// one that is folded again would destroy bytes that were written after it and are not in the log. The
  /// index alone is not enough: a power loss may leave the change and take the record, and its index is given
  /// again.
  std::uint64_t destructive_index = 0;
  std::uint64_t destructive_hlc_ns = 0;  // 0: of a brick of an earlier version, which had none
  /// No extended attributes but our own: FileAttr::plain. Where bricks of earlier versions have no such byte:
  /// false.
  bool plain = false;
};

std::string pack_meta(const Meta& meta);
/// EUCLEAN when the bytes are not a Meta of a version that we know.
Result<Meta> unpack_meta(std::string_view bytes);

std::string pack_dir_mark(const Gfid& gfid);
Result<Gfid> unpack_dir_mark(std::string_view bytes);

/// An entry whose object is on another set and not a directory.
struct EntryMark {
  Gfid gfid;
  std::uint32_t mode = 0;  // type bits
};
std::string pack_entry_mark(const EntryMark& mark);
Result<EntryMark> unpack_entry_mark(std::string_view bytes);

std::string pack_parent(const EntryName& entry);
Result<EntryName> unpack_parent(std::string_view bytes);

/// A file name and its link's text in kReplaced.
std::string replaced_file(const Gfid& gfid, const TxId& tx);
std::string replaced_text(const ReplacedName& replaced);
/// EUCLEAN when Polder did not write it.
Result<ReplacedName> parse_replaced(std::string_view file, std::string_view text);

/// "ab" and "ab/cd" of a gfid whose slot is 0xabcd.
std::string index_parent(const Gfid& gfid);
std::string index_dir(const Gfid& gfid);

inline bool is_hidden(std::string_view xattr_key) {
  return xattr_key.starts_with(kHidden);
}
inline timespec to_timespec(std::uint64_t ns) {
  return Hlc{ns}.to_timespec();
}
inline bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}
/// The ctime rule.
timespec effective_ctime(const Meta& meta, const struct stat& native);
/// The ctime after a record of `time_ns`: it never goes back. When a tail is folded again the object is newer
/// than its records, and a Meta with an old ctime beside a new mtime would outlive the record of that mtime.
std::uint64_t newer_ctime(const Meta& meta, const struct stat& native, std::uint64_t time_ns);

}  // namespace polder::layout
