// SPDX-License-Identifier: GPL-3.0-or-later
// MetaCache: the Meta of inodes that were looked at, by inode number, so that a look-up by name need not read
// an extended attribute. In memory only, of bounded size; any thread.
//
// It is right because an inode's Meta changes, and the inode ends, in one place each, which tell it
// (changed(), ended()) while the object's stripe is held, before anybody else may look. A number is given to
// another inode only after ended(). What was read before such a call does not get in after it: put() says
// when the look began.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "core-volume/layers/store/layout.h"

namespace polder {

class MetaCache {
 public:
  std::optional<layout::Meta> find(ino_t inode) const;

  /// To be asked before the look whose outcome put() is given.
  std::uint64_t now() const;
  /// The inode has this Meta: both were seen between now() and here, while nobody gave the name by which they
  /// were found to another object.
  void put(std::uint64_t began, ino_t inode, const layout::Meta& meta);

  /// The object's Meta was set in this inode, which may be a new one that does not become the object after
  /// all; 0: the caller does not know which it is.
  void changed(ino_t inode, const layout::Meta& meta);
  /// Before the last link of the object's inode goes. And when nobody knows what Meta the object has.
  void ended(const Gfid& gfid);

 private:
  // Sets of a few places by inode number; and where each gfid's is, without chains: two that meet there push
  // one another out. So nothing is allocated one by one, and nothing is searched for.
  static constexpr std::size_t kSets = 2048, kWays = 4, kPlaces = kSets * kWays, kBuckets = 4 * kPlaces;
  static constexpr std::uint16_t kNone = UINT16_MAX;
  struct Place {
    ino_t inode = 0;  // 0: free
    layout::Meta meta;
  };
  static_assert(kPlaces < kNone && kSets == 1 << (64 - 53) && kBuckets == 1 << (64 - 49));

  static std::size_t set_of(ino_t inode) { return inode * 0x9e3779b97f4a7c15u >> 53; }
  static std::size_t bucket_of(const Gfid& gfid) {
    return std::hash<Gfid>()(gfid) * 0x9e3779b97f4a7c15u >> 49;
  }
  std::size_t place_of(ino_t inode) const;
  std::size_t place_of(const Gfid& gfid) const;
  std::size_t place_of_new(ino_t inode);
  void clear_bucket(std::size_t bucket);
  void clear_place(std::size_t place);

  mutable std::mutex mutex_;
  std::uint64_t changes_ = 0;
  std::uint64_t puts_ = 0;
  std::vector<Place> places_;  // made with the first: most bricks are idle
  std::vector<std::uint16_t> by_gfid_;
};

}  // namespace polder
