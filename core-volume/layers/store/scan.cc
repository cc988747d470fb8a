// SPDX-License-Identifier: GPL-3.0-or-later
// StoreScan: all directories, then all objects by index directory: sorted, so that a cursor is one gfid.
#include "core-volume/layers/store/scan.h"

#include <algorithm>

#include "core-volume/layers/store/store.h"

namespace polder {

std::unique_ptr<StoreScan> Store::scan(const ScanCursor& from) {
  return std::make_unique<StoreScan>(*this, from);
}

Result<std::vector<bool>> Store::used_slots() {
  std::vector<bool> used(1 << 16);
  TRY(auto directories, disk_.list(dirs_.fd()));
  for (const auto& entry : directories)
    if (auto gfid = Gfid::parse(entry.name)) used[gfid->slot()] = true;
  StoreScan objects(*this, {.objects = true, .last = {}});
  while (true) {
    TRY(auto items, objects.next(1024));
    if (items.empty()) return used;
    for (const auto& item : items) used[item.gfid.slot()] = true;
  }
}

Result<std::vector<ScanItem>> StoreScan::next(std::size_t max_items) {
  if (!started_) {
    started_ = true;
    if (cursor_.objects)
      next_slot_ = cursor_.last.slot();
    else {
      TRY(load_directories());
    }
  }
  std::vector<ScanItem> items;
  while (items.size() < max_items) {
    if (pending_.empty()) {
      if (!cursor_.objects) cursor_ = {.objects = true, .last = {}};
      TRY(bool more, load_slot());
      if (!more) break;
      continue;
    }
    cursor_.last = pending_.back();
    items.push_back({cursor_.last, !cursor_.objects});
    pending_.pop_back();
  }
  return items;
}

namespace {

/// Those after `last`, descending. Names that are no gfids are not ours.
std::vector<Gfid> gfids_after(const std::vector<DirEntry>& entries, const Gfid& last) {
  std::vector<Gfid> gfids;
  for (const auto& entry : entries) {
    auto gfid = Gfid::parse(entry.name);
    if (gfid && *gfid > last) gfids.push_back(*gfid);
  }
  std::ranges::sort(gfids, std::greater());
  return gfids;
}

}  // namespace

Result<void> StoreScan::load_directories() {
  TRY(auto entries, store_.disk_.list(store_.dirs_.fd()));
  pending_ = gfids_after(entries, cursor_.last);
  return {};
}

Result<bool> StoreScan::load_slot() {
  constexpr std::uint32_t kSlots = 1 << 16;
  while (next_slot_ < kSlots) {
    auto high = fmt::format("{:02x}", next_slot_ >> 8);
    if (next_slot_ % 256 == 0 && !store_.disk_.stat(store_.index_root_.fd(), high)) {
      next_slot_ += 256;
      continue;
    }
    auto path = fmt::format("{}/{:02x}", high, next_slot_++ & 0xff);
    auto dir = store_.disk_.open(store_.index_root_.fd(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (dir.failed_with(ENOENT)) continue;
    if (!dir) return std::move(dir).error().with("scan {}/{}", layout::kIndex, path);
    TRY(auto entries, store_.disk_.list(dir->fd()));
    pending_ = gfids_after(entries, cursor_.last);
    return true;
  }
  return false;
}

}  // namespace polder
