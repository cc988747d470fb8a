// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/meta_cache.h"

namespace polder {

/// kPlaces: none has it.
std::size_t MetaCache::place_of(ino_t inode) const {
  if (places_.empty() || inode == 0) return kPlaces;
  const auto first = set_of(inode) * kWays;
  for (auto place = first; place < first + kWays; ++place)
    if (places_[place].inode == inode) return place;
  return kPlaces;
}

std::optional<layout::Meta> MetaCache::find(ino_t inode) const {
  std::lock_guard lock(mutex_);
  const auto place = place_of(inode);
  if (place == kPlaces) return std::nullopt;
  return places_[place].meta;
}

std::uint64_t MetaCache::now() const {
  std::lock_guard lock(mutex_);
  return changes_;
}

void MetaCache::put(std::uint64_t began, ino_t inode, const layout::Meta& meta) {
  std::lock_guard lock(mutex_);
  if (began != changes_ || inode == 0) return;
  if (places_.empty()) {
    places_.resize(kPlaces);
    by_gfid_.resize(kBuckets, kNone);
  }
  const auto bucket = bucket_of(meta.gfid);
  clear_bucket(bucket);
  auto place = place_of(inode);
  if (place == kPlaces) place = place_of_new(inode);
  clear_place(place);
  places_[place] = {inode, meta};
  by_gfid_[bucket] = static_cast<std::uint16_t>(place);
}

/// A free one of the inode's set, or any.
std::size_t MetaCache::place_of_new(ino_t inode) {
  const auto first = set_of(inode) * kWays;
  for (auto place = first; place < first + kWays; ++place)
    if (places_[place].inode == 0) return place;
  return first + puts_++ % kWays;
}

std::size_t MetaCache::place_of(const Gfid& gfid) const {
  if (places_.empty()) return kPlaces;
  const auto place = by_gfid_[bucket_of(gfid)];
  return place == kNone || places_[place].meta.gfid != gfid ? kPlaces : place;
}

void MetaCache::changed(ino_t inode, const layout::Meta& meta) {
  std::lock_guard lock(mutex_);
  ++changes_;
  const auto place = place_of(meta.gfid);
  if (place == kPlaces) return;
  if (places_[place].inode == inode)
    places_[place].meta = meta;
  else
    clear_place(place);  // it is read again
}

void MetaCache::ended(const Gfid& gfid) {
  std::lock_guard lock(mutex_);
  ++changes_;
  const auto place = place_of(gfid);
  if (place != kPlaces) clear_place(place);
}

void MetaCache::clear_bucket(std::size_t bucket) {
  if (by_gfid_[bucket] != kNone) clear_place(by_gfid_[bucket]);
}

void MetaCache::clear_place(std::size_t place) {
  if (places_[place].inode == 0) return;
  by_gfid_[bucket_of(places_[place].meta.gfid)] = kNone;
  places_[place].inode = 0;
}

}  // namespace polder
