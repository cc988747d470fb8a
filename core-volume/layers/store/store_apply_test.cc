// SPDX-License-Identifier: GPL-3.0-or-later
// Applying records: the same tree as the model's, however often a tail is folded, and after a kill anywhere.
#include <gmock/gmock.h>

#include <set>

#include "base/crash_point.h"
#include "base/random.h"
#include "core-volume/layers/memory/memory_tree.h"
#include "core-volume/layers/store/layout.h"
#include "core-volume/layers/store/store_test_support.h"

namespace polder {
namespace {

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

void compare(Store& store, MemoryTree& model, const Gfid& gfid = Gfid::root(), int depth = 0) {
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

std::vector<Gfid> objects_of(Store& store) {
  std::vector<Gfid> gfids;
  auto scan = store.scan({});
  for (const auto& item : must(scan->next(1 << 20))) gfids.push_back(item.gfid);
  return gfids;
}

class StoreApplyTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "kernel" && ::geteuid() != 0) GTEST_SKIP() << "needs root: trusted extended attributes";
    test_disk = std::make_unique<TestDisk>(GetParam());
  }
  std::unique_ptr<Store> new_store(const std::string& name) {
    auto path = test_disk->path(name);
    must(Store::format(test_disk->disk(), path, kTestIdentity, 1));
    return must(Store::open(test_disk->disk(), path, {}));
  }
  std::unique_ptr<TestDisk> test_disk;
};

TEST_P(StoreApplyTest, FoldingAnyTailAgainChangesNothing) {
  const int seeds = GetParam() == "sim" ? 12 : 3;
  for (int seed = 0; seed < seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    History history(seed);
    history.grow(150);
    auto store = new_store(fmt::format("fold{}", seed));
    for (const auto& record : history.all) must(store->apply(record));
    compare(*store, history.model);
    const auto once = dump(*store);
    const auto objects = objects_of(*store);
    auto random = make_seeded_random(seed + 1000);
    for (int fold = 0; fold < 4 && !HasFailure(); ++fold) {
      auto first = fold == 0 ? 0 : random->below(history.all.size());
      for (auto i = first; i < history.all.size(); ++i)
        must(store->apply(history.all[i]).with("record {} folded from {}", i, first));
      EXPECT_EQ(dump(*store), once) << "folded from " << first;
      EXPECT_EQ(objects_of(*store), objects) << "folded from " << first;
    }
  }
}

TEST_P(StoreApplyTest, RemovedMeansGoneWhateverItsNames) {
  auto store = new_store("removed");
  RecordMaker records;
  auto file = records.create(Gfid::root(), "a", S_IFREG | 0644);
  auto dir = records.create(Gfid::root(), "d", S_IFDIR | 0755);
  for (const auto& record : {file, dir, records.link(file.gfid, dir.gfid, "b")}) must(store->apply(record));
  auto removed = records.make(RecordKind::kRemoved, file.gfid);
  for (int i = 0; i < 2; ++i) {
    must(store->apply(removed));
    EXPECT_TRUE(store->attr(file.gfid).failed_with(ESTALE));
    EXPECT_TRUE(store->lookup(Gfid::root(), "a").failed_with(ENOENT));
    EXPECT_TRUE(must(store->is_empty(dir.gfid)));
  }
  must(store->apply(records.make(RecordKind::kRemoved, dir.gfid)));
  EXPECT_TRUE(must(store->is_empty(Gfid::root())));
}

TEST_P(StoreApplyTest, DestructiveRecordSparesWhatWasWrittenAfterIt) {
  auto store = new_store("destructive");
  RecordMaker records;
  auto file = records.create(Gfid::root(), "a", S_IFREG | 0644);
  must(store->apply(file));
  auto cut = records.truncate(file.gfid, 0);
  auto write = records.make(RecordKind::kWrite, file.gfid);  // too big for the log: no data in the record
  write.length = 6;
  must(store->apply(cut));
  must(store->apply_write(write, as_bytes("newer!")));
  for (const auto& record : {cut, write}) must(store->apply(record));
  EXPECT_EQ(must(store->read(file.gfid, 0, 10)).text(), "newer!");
}

SimDisk* g_killed = nullptr;

/// Every kind of record, killed at each point that it passes; then applied again.
TEST(StoreCrashTest, KilledAnywhereAndAppliedAgainIsAppliedOnce) {
  std::set<std::string_view> fired;
  for (std::string_view point : {"store/after-tmpfile", "store/after-index-link", "store/after-name-link",
                                 "store/after-name-unlink", "store/after-rename", "store/after-truncate"}) {
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
      History history(seed);
      history.grow(120);
      TestDisk test_disk("sim");
      auto path = test_disk.path("b");
      must(Store::format(test_disk.disk(), path, kTestIdentity, 1));
      auto store = must(Store::open(test_disk.disk(), path, {}));
      g_killed = test_disk.sim;
      for (std::size_t i = 0; i < history.all.size(); ++i) {
        static bool hit;
        hit = false;
        arm_crash_point(point, 1, [] {
          hit = true;
          g_killed->freeze();
        });
        auto applied = store->apply(history.all[i]);
        arm_crash_point("", 0, nullptr);
        if (!hit) {
          must(std::move(applied));
          continue;
        }
        fired.insert(point);
        store.reset();
        test_disk.sim->kill();
        store = must(Store::open(test_disk.disk(), path, {}));
        must(store->apply(history.all[i]).with("record {} after a kill at {}", i, point));
      }
      compare(*store, history.model);
      if (testing::Test::HasFailure()) return;
    }
  }
  EXPECT_EQ(fired.size(), 6u);
}

/// The time that somebody chose must not be taken for that of a change.
TEST(StoreCrashTest, SetattrKilledAtAnySystemCall) {
  for (std::uint32_t mode : {S_IFREG | 0644u, S_IFLNK | 0777u}) {
    bool fired = true;
    for (std::uint64_t call = 1; fired; ++call) {
      TestDisk test_disk("sim");
      auto path = test_disk.path("b");
      must(Store::format(test_disk.disk(), path, kTestIdentity, 1));
      auto store = must(Store::open(test_disk.disk(), path, {}));
      RecordMaker records;
      auto object = records.create(Gfid::root(), "a", mode);
      must(store->apply(object));
      Record set;
      for (std::int64_t future_s : {4'000'000'000, 3'900'000'000}) {
        set = records.make(RecordKind::kSetattr, object.gfid);
        set.state = object.state;
        set.state.atime = set.state.mtime = {future_s, 5};
        if (future_s == 3'900'000'000) test_disk.sim->fail_nth(call, EIO, true);
        static_cast<void>(store->apply(set));
      }
      fired = test_disk.sim->fault_fired();
      store.reset();
      test_disk.sim->kill();
      store = must(Store::open(test_disk.disk(), path, {}));
      must(store->apply(set));
      auto attr = must(store->attr(object.gfid));
      EXPECT_TRUE(layout::same_time(attr.ctime, layout::to_timespec(set.time_ns)))
          << "killed at call " << call;
      EXPECT_EQ(attr.mtime.tv_sec, 3'900'000'000);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Disks, StoreApplyTest, testing::Values("sim", "kernel"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace polder
