// SPDX-License-Identifier: GPL-3.0-or-later
// SeenNames: what a few names showed when they were looked at last, so that who removes or renames one need
// not look two or three times. Good as long as neither the name's stripe nor its object's has changed since
// `tick`: the same that tells a reader that he has seen no half change (stripes.h). Any thread.
#pragma once
#include <sys/stat.h>

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core-volume/layers/store/layout.h"

namespace polder {

/// What a name shows.
struct NameEntry {
  Gfid gfid;
  bool directory = false;
  bool elsewhere = false;
  std::uint32_t type = 0;  // S_IFMT
  struct stat native{};    // of the entry: for a directory, or elsewhere, that of its symlink
  layout::Meta meta;       // not for directories, nor elsewhere
  /// Set if the Meta was read from the disk: MetaCache::now() before that.
  std::optional<std::uint64_t> look_began;

  bool has_meta() const { return !directory && !elsewhere; }
};

class SeenNames {
 public:
  struct Seen {
    EntryName at;
    std::uint64_t tick = 0;          // of the stripes, before the look
    std::optional<NameEntry> entry;  // nullopt: no such name
  };

  void note(unsigned stripe, Seen seen) {
    std::lock_guard lock(mutex_);
    if (places_.empty()) places_.resize(kPlaces);
    places_[stripe % kPlaces] = std::move(seen);
  }
  std::optional<Seen> find(unsigned stripe, const EntryName& at) const {
    std::lock_guard lock(mutex_);
    if (places_.empty() || places_[stripe % kPlaces].at != at) return std::nullopt;
    return places_[stripe % kPlaces];
  }

 private:
  /// Far more than operations under way at once; what they have seen is used within the operation, or by the
  /// next one of the same client.
  static constexpr std::size_t kPlaces = 256;
  mutable std::mutex mutex_;
  std::vector<Seen> places_;  // made with the first: most bricks are idle
};

}  // namespace polder
