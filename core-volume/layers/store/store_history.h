// SPDX-License-Identifier: GPL-3.0-or-later
// For the store's tests: valid histories of records by chance, and the model of the volume that they lead to.
#pragma once
#include <set>

#include "base/random.h"
#include "core-volume/layers/memory/memory_tree.h"
#include "core-volume/layers/store/store_test_support.h"

namespace polder {

/// A valid history by chance, decided on a model of the volume.
class History {
 public:
  explicit History(std::uint64_t seed) : random_(make_seeded_random(seed)) {}

  const std::vector<Record>& grow(int count) {
    while (count > 0) {
      auto record = next();
      if (!record) continue;
      model.apply(*record);
      model.collect();
      all.push_back(*std::move(record));
      --count;
    }
    return all;
  }

  MemoryTree model;
  std::vector<Record> all;

 private:
  struct Place {
    EntryName at;
    Gfid gfid;  // nil when the name is free
    MemoryObject* object = nullptr;
  };

  std::uint64_t below(std::uint64_t bound) { return random_->below(bound); }
  Gfid any_directory() {
    std::vector<Gfid> found{Gfid::root()};
    for (const auto& gfid : gfids_)
      if (auto* object = model.find(gfid); object && object->attr.is_directory()) found.push_back(gfid);
    return found[below(found.size())];
  }
  Place any_place() {
    Place place{{any_directory(), std::string(1, static_cast<char>('a' + below(6)))}, {}};
    if (const auto* there = model.entry(*model.find(place.at.parent), place.at.name)) {
      place.gfid = *there;
      place.object = model.find(*there);
    }
    return place;
  }

  std::optional<Record> next() {
    auto place = any_place();
    if (!place.object) return create(place);
    switch (below(9)) {
      case 0:
        return unlink(place);
      case 1:
      case 2:
        return rename(place, any_place());
      case 3:
        return link(place, any_place());
      case 4:
        return setattr(place);
      case 5:
        return xattr(place);
      default:
        return data(place);
    }
  }
  Record create(const Place& place) {
    constexpr std::uint32_t kTypes[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO};
    auto type = kTypes[below(std::size(kTypes))];
    auto record = maker_.create(place.at.parent, place.at.name, type | (type == S_IFLNK ? 0777 : 0640));
    record.state.uid = static_cast<std::uint32_t>(below(3));
    gfids_.insert(record.gfid);
    return record;
  }
  std::optional<Record> unlink(const Place& place) {
    if (!place.object->entries.empty()) return std::nullopt;
    return maker_.unlink(place.gfid, place.at.parent, place.at.name, place.object->names.size() == 1);
  }
  std::optional<Record> link(const Place& from, const Place& to) {
    if (from.object->attr.is_directory() || to.object) return std::nullopt;
    return maker_.link(from.gfid, to.at.parent, to.at.name);
  }
  std::optional<Record> rename(const Place& from, const Place& to) {
    bool loop = from.object->attr.is_directory() && model.is_above(from.gfid, to.at.parent);
    if (loop || from.gfid == to.gfid) return std::nullopt;
    bool exchange = to.object && below(3) == 0;
    if (exchange && to.object->attr.is_directory() && model.is_above(to.gfid, from.at.parent))
      return std::nullopt;
    if (to.object && !exchange) {
      if (to.object->attr.is_directory() != from.object->attr.is_directory()) return std::nullopt;
      if (!to.object->entries.empty()) return std::nullopt;
    }
    auto record = maker_.rename(from.gfid, from.at, to.at);
    record.displaced = to.gfid;
    record.exchange = exchange;
    record.last_link = to.object && !exchange && to.object->names.size() == 1;
    return record;
  }
  Record setattr(const Place& place) {
    auto record = maker_.make(RecordKind::kSetattr, place.gfid);
    const auto& attr = place.object->attr;
    record.state.mode = S_ISLNK(attr.mode) ? attr.mode : ((attr.mode & S_IFMT) | (0600 + below(64)));
    record.state.uid = static_cast<std::uint32_t>(below(3));
    record.state.gid = attr.gid;
    record.state.atime = attr.atime;
    record.state.mtime = {static_cast<time_t>(1000 + below(5)), 5};
    return record;
  }
  std::optional<Record> xattr(const Place& place) {
    if (!place.object->attr.is_regular() && !place.object->attr.is_directory()) return std::nullopt;
    auto record = maker_.make(RecordKind::kXattr, place.gfid);
    record.key = fmt::format("user.k{}", below(2));
    if (below(3) != 0) record.value = std::string(below(20), 'v');
    record.state.mode = place.object->attr.mode;
    return record;
  }
  std::optional<Record> data(const Place& place) {
    if (!place.object->attr.is_regular()) return std::nullopt;
    constexpr RecordKind kKinds[] = {RecordKind::kWrite,     RecordKind::kWrite, RecordKind::kTruncate,
                                     RecordKind::kFallocate, RecordKind::kPunch, RecordKind::kZero};
    auto kind = kKinds[below(std::size(kKinds))];
    auto offset = below(20'000);
    if (kind == RecordKind::kWrite)
      return maker_.write(place.gfid, offset,
                          std::string(1 + below(5000), static_cast<char>('A' + below(26))));
    if (kind == RecordKind::kTruncate) return maker_.truncate(place.gfid, offset);
    auto record = maker_.make(kind, place.gfid);
    record.offset = offset;
    record.length = 1 + below(10'000);
    record.keep_size = kind == RecordKind::kPunch || below(2) == 0;
    return record;
  }

  std::unique_ptr<Random> random_;
  RecordMaker maker_;
  std::set<Gfid> gfids_;
};

inline void compare(Store& store, MemoryTree& model, const Gfid& gfid = Gfid::root(), int depth = 0) {
  auto* expected = model.find(gfid);
  ASSERT_TRUE(expected);
  ASSERT_LT(depth, 100);
  if (gfid != Gfid::root() || expected->attr.mtime.tv_sec != 0) {  // the model's root has no time at first
    auto want = model.attr_of(*expected);
    want.nlink = want.is_directory() ? 1 : want.nlink;
    EXPECT_EQ(describe(must(store.attr(gfid))), describe(want));
  }
  auto state = must(store.state(gfid));
  EXPECT_EQ(state.xattrs, expected->xattrs);
  EXPECT_EQ(state.target, expected->target);
  if (expected->attr.is_regular()) {
    auto data = must(store.read(gfid, 0, 1 << 20));
    EXPECT_EQ(data.text(), expected->data.read(0, 1 << 20).text());
  }
  if (!expected->attr.is_directory()) return;
  auto page = must(store.list(gfid, 0, 1000, false));
  EXPECT_EQ(page.entries.size(), expected->entries.size());
  for (const auto& [key, child] : expected->entries) {
    EXPECT_EQ(must(store.lookup(gfid, key.second)).gfid, child);
    compare(store, model, child, depth + 1);
  }
}

}  // namespace polder
