// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/listing.h"

#include <algorithm>

#include "core-volume/layer/posix_rules.h"

namespace polder {

std::shared_ptr<const Listing> Listing::sorted(std::vector<DirEntry> entries) {
  auto listing = std::make_shared<Listing>();
  listing->names.reserve(entries.size());
  for (auto& entry : entries)
    listing->names.push_back({entry_cookie(entry.name), std::move(entry.name), entry.type});
  std::ranges::sort(listing->names, [](const Name& a, const Name& b) {
    return std::tie(a.cookie, a.name) < std::tie(b.cookie, b.name);
  });
  return listing;
}

std::span<const Listing::Name> Listing::page(std::uint64_t cookie, std::size_t max_names) const {
  auto first = std::ranges::upper_bound(names, cookie, {}, &Name::cookie);
  auto last = first;
  while (last != names.end()) {
    bool full = last != first && static_cast<std::size_t>(last - first) >= max_names;
    if (full && std::prev(last)->cookie != last->cookie) break;
    ++last;
  }
  return {first, last};
}

std::shared_ptr<const Listing> ListingCache::find(const Gfid& directory) {
  std::lock_guard lock(mutex_);
  auto found = std::ranges::find(kept_, directory, &Kept::directory);
  if (found == kept_.end()) return nullptr;
  if (found->generation != generation(directory)) {
    kept_.erase(found);
    return nullptr;
  }
  kept_.splice(kept_.begin(), kept_, found);
  return found->listing;
}

void ListingCache::keep(const Gfid& directory, std::shared_ptr<const Listing> listing) {
  std::lock_guard lock(mutex_);
  std::erase_if(kept_, [&](const Kept& kept) { return kept.directory == directory; });
  kept_.push_front({directory, generation(directory), std::move(listing)});
  if (kept_.size() > kMaxListings) kept_.pop_back();
}

std::uint64_t DirectoryTimes::newest(const Gfid& directory, std::uint64_t time_ns) {
  std::lock_guard lock(mutex_);
  if (auto old = older_.find(directory); old != older_.end()) time_ns = std::max(time_ns, old->second);
  auto& newest = recent_[directory];
  newest = std::max(newest, time_ns);
  auto result = newest;
  if (recent_.size() >= kGeneration) older_ = std::exchange(recent_, {});
  return result;
}

}  // namespace polder
