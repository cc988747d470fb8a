// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/volume_check.h"

#include <set>

#include "core-volume/layers/store/scan.h"

namespace polder {
namespace {

struct Object {
  bool directory = false;
  std::uint32_t links = 0;  // as the brick counts them
  EntryName parent;         // of a directory, as it says itself
  std::vector<EntryName> names;
};

class VolumeCheck {
 public:
  VolumeCheck(const std::map<std::uint32_t, Store*>& sets, const Placement& placement)
      : sets_(sets), placement_(placement) {}

  std::vector<std::string> run() {
    for (const auto& [set, store] : sets_) objects_of(set, *store);
    for (const auto& [gfid, object] : objects_)
      if (object.directory) names_in(gfid);
    for (const auto& [gfid, object] : objects_) check(gfid, object);
    check_tree();
    return std::move(problems_);
  }

 private:
  template <typename... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    problems_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  template <typename T>
  bool ok(const Result<T>& result, std::string_view what) {
    if (!result) problem("{}: {}", what, result.error().message());
    return result.has_value();
  }

  void objects_of(std::uint32_t set, Store& store) {
    auto scan = store.scan({});
    while (true) {
      auto items = scan->next(256);
      if (!ok(items, "scan") || items->empty()) return;
      for (const auto& item : *items) {
        if (placement_.set_of(item.gfid) != set)
          problem("object {} is on set {}, its slot is not", item.gfid.hex(), set);
        auto& object = objects_[item.gfid];
        object.directory = item.directory;
        auto attr = store.attr(item.gfid);
        if (ok(attr, item.gfid.hex())) object.links = attr->nlink;
        if (!item.directory || item.gfid == Gfid::root()) continue;
        auto parent = store.parent_of(item.gfid);
        if (ok(parent, item.gfid.hex())) object.parent = *parent;
      }
    }
  }

  void names_in(const Gfid& directory) {
    auto& store = *sets_.at(placement_.set_of(directory));
    std::uint64_t cookie = 0;
    while (true) {
      auto page = store.list(directory, cookie, 256, false);
      if (!ok(page, directory.hex())) return;
      for (const auto& entry : page->entries) {
        cookie = entry.cookie;
        auto object = objects_.find(entry.attr.gfid);
        if (object == objects_.end()) {
          problem("\"{}\" in {} shows {}, which does not exist", entry.name, directory.hex(),
                  entry.attr.gfid.hex());
          continue;
        }
        if (object->second.directory != entry.attr.is_directory())
          problem("\"{}\" in {} shows another type than {} has", entry.name, directory.hex(),
                  entry.attr.gfid.hex());
        object->second.names.push_back({directory, entry.name});
      }
      if (page->end) return;
    }
  }

  void check(const Gfid& gfid, const Object& object) {
    if (gfid == Gfid::root()) return;
    if (object.names.empty())
      problem("{} {} has no name", object.directory ? "directory" : "object", gfid.hex());
    if (!object.directory && object.links != object.names.size())
      problem("object {} counts {} links and has {} names", gfid.hex(), object.links, object.names.size());
    if (!object.directory) return;
    if (object.names.size() > 1) problem("directory {} has {} names", gfid.hex(), object.names.size());
    if (!object.names.empty() && object.names.front() != object.parent)
      problem("directory {} says it is \"{}\" in {}, and is \"{}\" in {}", gfid.hex(), object.parent.name,
              object.parent.parent.hex(), object.names.front().name, object.names.front().parent.hex());
  }

  void check_tree() {
    for (const auto& [gfid, object] : objects_) {
      if (!object.directory) continue;
      std::set<Gfid> seen;
      auto at = gfid;
      while (at != Gfid::root()) {
        auto found = objects_.find(at);
        if (found == objects_.end() || found->second.names.empty()) break;  // told already
        if (!seen.insert(at).second) {
          problem("directory {} is in a circle", gfid.hex());
          break;
        }
        at = found->second.names.front().parent;
      }
    }
  }

  const std::map<std::uint32_t, Store*>& sets_;
  const Placement& placement_;
  std::map<Gfid, Object> objects_;
  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> volume_problems(const std::map<std::uint32_t, Store*>& sets,
                                         const Placement& placement) {
  return VolumeCheck(sets, placement).run();
}

}  // namespace polder
