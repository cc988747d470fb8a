// SPDX-License-Identifier: GPL-3.0-or-later
// Sorted listings of directories, kept for the big ones so that each page of a long listing does not read the
// directory again; and the newest time applied to each directory.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/disk.h"
#include "base/gfid.h"

namespace polder {

/// A directory's names in cookie order. Immutable.
struct Listing {
  struct Name {
    std::uint64_t cookie;
    std::string name;
    unsigned char type;  // DT_*
  };
  std::vector<Name> names;

  static std::shared_ptr<const Listing> sorted(std::vector<DirEntry> entries);
  /// Names after `cookie`, about `max_names`: a page never ends between equal cookies.
  std::span<const Name> page(std::uint64_t cookie, std::size_t max_names) const;
};

class ListingCache {
 public:
  static constexpr std::size_t kMinNames = 256;  // smaller ones are read again
  static constexpr std::size_t kMaxListings = 16;

  /// A name of the directory changed. Called while readers of the directory are locked out.
  void changed(const Gfid& directory) { ++generation(directory); }
  /// The listing in the cache if nothing changed since, else what `read` returns. The caller locks changes of
  /// the directory out.
  template <typename Read>
  Result<std::shared_ptr<const Listing>> get(const Gfid& directory, Read read) {
    if (auto cached = find(directory)) return cached;
    TRY(auto entries, read());
    auto listing = Listing::sorted(std::move(entries));
    if (listing->names.size() >= kMinNames) keep(directory, listing);
    return listing;
  }

 private:
  struct Kept {
    Gfid directory;
    std::uint64_t generation;
    std::shared_ptr<const Listing> listing;
  };
  std::atomic<std::uint64_t>& generation(const Gfid& directory) {
    return generations_[std::hash<Gfid>()(directory) % generations_.size()];
  }
  std::shared_ptr<const Listing> find(const Gfid& directory);
  void keep(const Gfid& directory, std::shared_ptr<const Listing> listing);

  std::array<std::atomic<std::uint64_t>, 1024> generations_{};
  std::mutex mutex_;
  std::list<Kept> kept_;  // most recently used first
};

/// Changes of different names in one directory are applied in any order, but the directory's mtime is that of
/// the newest record, whatever the order. Remembers it for recently changed directories.
class DirectoryTimes {
 public:
  /// The newest time seen, this one included.
  std::uint64_t newest(const Gfid& directory, std::uint64_t time_ns);

 private:
  static constexpr std::size_t kGeneration = 4096;  // far more than can be in flight at once
  std::mutex mutex_;
  std::unordered_map<Gfid, std::uint64_t> recent_, older_;
};

}  // namespace polder
