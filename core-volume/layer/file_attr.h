// SPDX-License-Identifier: GPL-3.0-or-later
// The values that file operations take and return.
#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/gfid.h"
#include "base/hlc.h"

namespace polder {

/// What stat(2) reports, by the leader's word: the same whichever brick, replica or site answers.
struct FileAttr {
  Gfid gfid;
  /// Below distribute only: the entry is here, the object on another set. Nothing but gfid and type is set.
  bool elsewhere = false;
  std::uint32_t mode = 0;  // type and permission bits, as st_mode
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t nlink = 0;  // names in the volume; 1 for a directory (as btrfs: "not counted")
  std::uint32_t rdev_major = 0;
  std::uint32_t rdev_minor = 0;
  std::uint64_t size = 0;
  std::uint64_t blocks_512 = 0;
  timespec atime{};
  timespec mtime{};
  /// It has no extended attribute that anybody could ask for, ACLs included. False: it may have some.
  bool plain = false;
  timespec ctime{};  // HLC of the last change, unique per set: doubles as the object's change index

  bool is_directory() const { return S_ISDIR(mode); }
  bool is_regular() const { return S_ISREG(mode); }
};

/// Which attributes setattr changes; absent fields stay. Times "now" are resolved by the leader.
struct SetAttr {
  enum Field : std::uint32_t {
    kMode = 1,
    kUid = 2,
    kGid = 4,
    kSize = 8,
    kAtime = 16,
    kMtime = 32,
    kAtimeNow = 64,
    kMtimeNow = 128,
    kCtimeNow = 256,  // nothing but a new ctime (the kernel asks for it after killing privileges)
  };
  std::uint32_t fields = 0;
  std::uint32_t mode = 0;  // permission bits only
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  timespec atime{};
  timespec mtime{};
};

/// A new object, before the leader has applied umask, default ACL and setgid inheritance.
struct NewObject {
  std::uint32_t mode = 0;   // type bits too, for mknod
  std::uint32_t umask = 0;  // not used where the parent has a default ACL
  std::uint32_t rdev_major = 0;
  std::uint32_t rdev_minor = 0;
};

/// An open file as the brick knows it. Handles are the session's: dead with it, re-claimed after a brick
/// restart.
using HandleId = std::uint64_t;

struct Opened {
  FileAttr attr;
  HandleId handle = 0;
  bool created = false;
};

struct WriteResult {
  std::uint64_t offset = 0;  // where the bytes went: the brick places appends
  FileAttr attr;
};

struct ListedEntry {
  std::string name;
  FileAttr attr;             // with only gfid and the type bits of mode set unless attributes were asked for
  std::uint64_t cookie = 0;  // resume after this entry; a function of the name, so it survives restarts
};

struct DirectoryPage {
  std::vector<ListedEntry> entries;  // "." and ".." are the client's business
  bool end = false;
};

struct VolumeSpace {
  std::uint64_t block_size = 4096;
  std::uint64_t blocks = 0, blocks_free = 0, blocks_available = 0;
  std::uint64_t files = 0, files_free = 0;
  std::uint32_t name_max = 255;
};

/// A POSIX (range) or flock (whole file) lock.
struct FileLock {
  enum class Kind : std::uint8_t { kPosix, kFlock };
  enum class Type : std::uint8_t { kRead, kWrite, kUnlock };
  Kind kind = Kind::kPosix;
  Type type = Type::kUnlock;
  std::uint64_t start = 0;
  std::uint64_t end = UINT64_MAX;  // inclusive
  std::uint64_t owner = 0;         // the kernel's lock owner, unique within the session
  std::uint32_t pid = 0;           // for F_GETLK's answer
};

}  // namespace polder
