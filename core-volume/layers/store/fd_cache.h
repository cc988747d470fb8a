// SPDX-License-Identifier: GPL-3.0-or-later
// FdCache: the brick's open directories and files, least recently used first out. Its mutex is held for table
// work only, never for a system call.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/disk.h"
#include "base/gfid.h"

namespace polder {

/// Stays open while anybody uses it, whatever the cache does.
using FdRef = std::shared_ptr<DiskFile>;

class FdCache {
 public:
  enum class Kind : std::uint8_t {
    kDirectory,  // dirs/<gfid>, O_RDONLY
    kFile,       // a regular file, O_RDWR
    kIndex,      // .polder/gfid/ab/cd, by a gfid with only its slot set
    kAway,       // .polder/away/<gfid>
  };

  explicit FdCache(std::size_t capacity) : capacity_(capacity) {}

  FdRef get(Kind kind, const Gfid& gfid);
  FdRef put(Kind kind, const Gfid& gfid, DiskFile file);
  void erase(Kind kind, const Gfid& gfid);

 private:
  struct Key {
    Kind kind;
    Gfid gfid;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      // An index key is nothing but a slot, which std::hash<Gfid> does not look at.
      return std::hash<Gfid>()(key.gfid) ^ key.gfid.slot() * 0x9e3779b97f4a7c15u ^ static_cast<int>(key.kind);
    }
  };
  struct Entry {
    Key key;
    FdRef file;
  };

  const std::size_t capacity_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> table_;
};

}  // namespace polder
