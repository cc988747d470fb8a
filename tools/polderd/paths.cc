// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polderd/paths.h"

#include <algorithm>
#include <set>

#include "core-volume/layers/store/scan.h"

namespace polder {

namespace {

constexpr int kDepthMax = 512;

std::optional<std::string> path_of_directory(Store& store, Gfid gfid) {
  std::string path;
  for (int depth = 0; depth < kDepthMax; ++depth) {
    if (gfid == Gfid::root()) return path.empty() ? "/" : path;
    auto entry = store.parent_of(gfid);
    if (!entry) return std::nullopt;
    path = "/" + entry->name + path;
    gfid = entry->parent;
  }
  return std::nullopt;
}

class Finder {
 public:
  Finder(Store& store, std::vector<Gfid> gfids, std::size_t entries_max)
      : store_(store), entries_left_(entries_max) {
    for (const auto& gfid : gfids) {
      auto path = path_of_directory(store_, gfid);
      if (path) {
        found_[gfid] = *std::move(path);
      } else {
        wanted_.insert(gfid);
      }
    }
  }

  std::map<Gfid, std::string> find() {
    if (wanted_.empty()) return std::move(found_);
    std::set<std::uint16_t> slots;
    for (const auto& gfid : wanted_) slots.insert(gfid.slot());
    auto scan = store_.scan({});
    for (;;) {
      auto items = scan->next(1024);
      if (!items || items->empty()) break;
      for (const auto& item : *items) {
        if (!item.directory) return std::move(found_);  // directories come first
        if (slots.contains(item.gfid.slot()) && !look_in(item.gfid)) return std::move(found_);
      }
    }
    return std::move(found_);
  }

 private:
  /// False when there is nothing more to be done.
  bool look_in(const Gfid& directory) {
    std::uint64_t cookie = 0;
    for (;;) {
      auto page = store_.list(directory, cookie, 1024, false);
      if (!page) return true;
      for (const auto& entry : page->entries) {
        cookie = entry.cookie;
        auto at = wanted_.find(entry.attr.gfid);
        if (at == wanted_.end()) continue;
        auto above = path_of_directory(store_, directory);
        if (above) found_[*at] = (*above == "/" ? "" : *above) + "/" + entry.name;
        wanted_.erase(at);
      }
      entries_left_ -= std::min(entries_left_, page->entries.size());
      if (wanted_.empty() || entries_left_ == 0) return false;
      if (page->end || page->entries.empty()) return true;
    }
  }

  Store& store_;
  std::size_t entries_left_;
  std::set<Gfid> wanted_;
  std::map<Gfid, std::string> found_;
};

}  // namespace

std::map<Gfid, std::string> find_paths(Store& store, std::vector<Gfid> gfids, std::size_t entries_max) {
  return Finder(store, std::move(gfids), entries_max).find();
}

}  // namespace polder
