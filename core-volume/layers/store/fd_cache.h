// SPDX-License-Identifier: GPL-3.0-or-later
// FdCache: the brick's open directories and files, least recently used first out. Its mutex is held for table
// work only, never for a system call.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/disk.h"
#include "base/gfid.h"
#include "core-volume/layers/store/layout.h"

namespace polder {

/// An open file or directory of the brick, and what has been read of it that only the store changes. Who
/// changes the object does so under its exclusive stripe and notes it here, who reads it holds the stripe
/// too: so what is known is as good as a look. The mutex is for readers side by side.
class OpenInode : public DiskFile {
 public:
  OpenInode() = default;
  explicit OpenInode(DiskFile file) : DiskFile(std::move(file)) {}
  OpenInode& operator=(DiskFile&& file) {
    DiskFile::operator=(std::move(file));
    return *this;
  }

  std::optional<layout::Meta> meta() const { return get(meta_); }
  void set_meta(const std::optional<layout::Meta>& meta) { set(meta_, meta); }
  /// Of a directory; empty: it has none.
  std::optional<std::string> default_acl() const { return get(default_acl_); }
  void set_default_acl(std::optional<std::string> acl) { set(default_acl_, std::move(acl)); }

 private:
  template <typename T>
  T get(const T& known) const {
    std::lock_guard lock(mutex_);
    return known;
  }
  template <typename T>
  void set(T& known, T value) {
    std::lock_guard lock(mutex_);
    known = std::move(value);
  }

  mutable std::mutex mutex_;
  std::optional<layout::Meta> meta_;
  std::optional<std::string> default_acl_;
};

/// Stays open while anybody uses it, whatever the cache does.
using FdRef = std::shared_ptr<OpenInode>;

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
  FdRef put(Kind kind, const Gfid& gfid, DiskFile file) {
    return put(kind, gfid, std::make_shared<OpenInode>(std::move(file)));
  }
  FdRef put(Kind kind, const Gfid& gfid, FdRef file);
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
