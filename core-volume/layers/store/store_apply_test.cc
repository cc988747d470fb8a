// SPDX-License-Identifier: GPL-3.0-or-later
// Applying records: the same tree as the model's, however often a tail is folded, and after a kill anywhere.
#include <gmock/gmock.h>

#include <set>

#include "base/crash_point.h"
#include "core-volume/layers/store/layout.h"
#include "core-volume/layers/store/store_history.h"

namespace polder {
namespace {

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

/// A secondary makes an object again, from its spool; the tail has its removal, too.
TEST_P(StoreApplyTest, AnObjectThatWasMadeAgainOutlivesItsOldRemoval) {
  auto store = new_store("made-again");
  RecordMaker records;
  auto file = records.create(Gfid::root(), "a", S_IFREG | 0644);
  const auto removed = records.make(RecordKind::kRemoved, file.gfid);
  auto again = records.make(RecordKind::kCreate, file.gfid);
  again.name = file.name;
  again.state = file.state;
  auto large = records.write(file.gfid, 0, "bytes that are not in the log");
  for (const auto& record : {file, removed, again, large}) must(store->apply(record));
  large.data = {};
  for (const auto& record : {file, removed, again, large}) must(store->apply(record));
  EXPECT_EQ(must(store->read(file.gfid, 0, 100)).text(), "bytes that are not in the log");
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

/// After a power loss that took the unlink from the log.
TEST_P(StoreApplyTest, AnOpenDirectoryThatAnOlderRecordBringsBackIsNotReaped) {
  auto store = new_store("back");
  RecordMaker records;
  const auto dir = records.create(Gfid::root(), "d", S_IFDIR | 0755);
  must(store->apply(dir));
  must(store->apply(records.unlink(dir.gfid, Gfid::root(), "d"), {.keep_object = true}));
  ASSERT_EQ(must(store->orphans()).size(), 1u);
  must(store->apply(dir));
  store.reset();
  store = must(Store::open(test_disk->disk(), test_disk->path("back"), {}));
  for (const auto& gfid : must(store->orphans())) must(store->reap(gfid));
  EXPECT_EQ(must(store->lookup(Gfid::root(), "d")).gfid, dir.gfid);
  EXPECT_EQ(must(store->attr(dir.gfid)).nlink, 1u);
}

TEST(ReplacedNameTest, IsReadAsItWasWritten) {
  const ReplacedName replaced{
      Gfid{{1}}, {Gfid{{2}}, std::string(253, '.') + "\xff "}, Gfid{{3}}, {7, 1u << 31}};
  const auto file = layout::replaced_file(replaced.gfid, replaced.tx), text = layout::replaced_text(replaced);
  EXPECT_LE(text.size(), 1023u);  // on XFS
  const auto again = must(layout::parse_replaced(file, text));
  EXPECT_EQ(again.gfid, replaced.gfid);
  EXPECT_EQ(again.name, replaced.name);
  EXPECT_EQ(again.by, replaced.by);
  EXPECT_EQ(again.tx, replaced.tx);
  for (const auto& wrong :
       {std::string(), file.substr(0, 32), file.substr(0, 33), file.substr(0, 34), file + "x"})
    EXPECT_TRUE(layout::parse_replaced(wrong, text).failed_with(EUCLEAN)) << wrong;
  for (const auto& wrong : {std::string(), text.substr(0, 40), text.substr(0, 66), "x" + text})
    EXPECT_TRUE(layout::parse_replaced(file, wrong).failed_with(EUCLEAN)) << wrong;
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
