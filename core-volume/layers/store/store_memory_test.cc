// SPDX-License-Identifier: GPL-3.0-or-later
// What the store remembers of names and inodes is what the disk says, whatever has changed since.
#include <gmock/gmock.h>

#include <atomic>
#include <set>
#include <thread>

#include "core-volume/layers/store/store_history.h"

namespace polder {
namespace {

class StoreMemoryTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "kernel" && ::geteuid() != 0) GTEST_SKIP() << "needs root: trusted extended attributes";
    test_disk = std::make_unique<TestDisk>(GetParam());
    open_new("b1");
  }
  bool is_sim() const { return GetParam() == "sim"; }
  Disk& disk() { return test_disk->disk(); }
  void open_new(const std::string& name) {
    store.reset();
    path = test_disk->path(name);
    must(Store::format(disk(), path, kTestIdentity, 1));
    store = must(Store::open(disk(), path, {}));
  }
  Record applied(Record record) {
    must(store->apply(record));
    return record;
  }
  ino_t inode_of(const std::string& name) {
    return must(disk().stat(Disk::kNoDir, path + "/dirs/" + Gfid::root().hex() + "/" + name)).st_ino;
  }

  /// All names that a history may use in its directories.
  std::vector<EntryName> names_of(const History& history) {
    std::vector<EntryName> names;
    auto add = [&](const Gfid& directory) {
      for (char name = 'a'; name <= 'f'; ++name) names.push_back({directory, std::string(1, name)});
    };
    add(Gfid::root());
    for (const auto& record : history.all)
      if (record.kind == RecordKind::kCreate && S_ISDIR(record.state.mode)) add(record.gfid);
    return names;
  }
  void look_at(const std::vector<EntryName>& names) {
    for (const auto& name : names) (void)store->lookup(name.parent, name.name);
  }
  void expect_right(const std::vector<EntryName>& names) {
    for (const auto& [parent, name] : names) {
      auto remembered = store->lookup_again(parent, name);
      auto there = store->lookup(parent, name);
      ASSERT_EQ(remembered.has_value(), there.has_value()) << name;
      if (there) {
        EXPECT_EQ(describe(*remembered), describe(*there)) << name;
      } else if (!remembered.failed_with(ENOENT)) {
        EXPECT_EQ(remembered.error().code(), there.error().code());
      }
    }
  }

  std::unique_ptr<TestDisk> test_disk;
  std::string path;
  std::unique_ptr<Store> store;
  RecordMaker records;
};

TEST_P(StoreMemoryTest, NamesLookedAtBeforeEachRecordAreRightAfterIt) {
  const int seeds = is_sim() ? 6 : 2;
  for (int seed = 0; seed < seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    open_new(fmt::format("names{}", seed));
    History history(seed + 50);
    history.grow(100);
    const auto names = names_of(history);
    for (const auto& record : history.all) {
      look_at(names);
      must(store->apply(record));
      expect_right(names);
    }
    compare(*store, history.model);
    // Folded again, when most records meet what later ones have left.
    const auto once = dump(*store);
    for (auto i = history.all.size() / 2; i < history.all.size(); ++i) {
      look_at(names);
      must(store->apply(history.all[i]));
      expect_right(names);
    }
    EXPECT_EQ(dump(*store), once);
  }
}

std::vector<Gfid> objects_of(Store& store) {
  std::vector<Gfid> gfids;
  auto scan = store.scan({});
  for (const auto& item : must(scan->next(1 << 20))) gfids.push_back(item.gfid);
  return gfids;
}

/// A name that was looked at a few records ago, and may show something else by now, or something changed.
TEST_P(StoreMemoryTest, AChangeDoesTheSameWhateverWasLookedAtBefore) {
  const int seeds = is_sim() ? 20 : 3;
  for (int seed = 0; seed < seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    History history(seed + 200);
    history.grow(150);
    const auto names = names_of(history);
    std::string tree[2];
    std::vector<Gfid> orphans[2], objects[2];
    for (const bool looks : {false, true}) {
      open_new(fmt::format("looks{}-{}", seed, looks));
      for (std::size_t i = 0; i < history.all.size(); ++i) {
        if (looks && i % 7 == 0) look_at(names);
        must(store->apply(history.all[i], {.keep_object = i % 3 == 0}));
      }
      tree[looks] = dump(*store);
      orphans[looks] = must(store->orphans());
      for (const auto& gfid : orphans[looks]) must(store->reap(gfid));
      objects[looks] = objects_of(*store);
    }
    EXPECT_EQ(tree[0], tree[1]);
    EXPECT_EQ(orphans[0], orphans[1]);
    EXPECT_EQ(objects[0], objects[1]);
  }
}

/// What was half applied is no longer what was looked at.
TEST_P(StoreMemoryTest, ARecordIsAppliedAgainAfterAnyCallOfItHasFailed) {
  if (!is_sim()) GTEST_SKIP() << "makes calls fail";
  std::set<RecordKind> kinds;
  for (int seed = 0; seed < 3 && !HasFailure(); ++seed) {
    History history(seed + 80);
    history.grow(60);
    const auto names = names_of(history);
    for (std::uint64_t call = 1; call < 16 && !HasFailure(); ++call) {
      SCOPED_TRACE(fmt::format("seed {} call {}", seed, call));
      open_new(fmt::format("calls{}-{}", seed, call));
      for (const auto& record : history.all) {
        look_at(names);
        test_disk->sim->fail_nth(call, EIO, false);
        auto failed = store->apply(record);
        test_disk->sim->heal();
        if (failed) continue;
        kinds.insert(record.kind);
        must(store->apply(record).with("record {} ({})", record.index, to_string(record.kind)));
      }
      compare(*store, history.model);
    }
  }
  for (auto kind : {RecordKind::kCreate, RecordKind::kLink, RecordKind::kUnlink, RecordKind::kRename})
    EXPECT_TRUE(kinds.contains(kind)) << to_string(kind);
}

TEST_P(StoreMemoryTest, AnInodeNumberThatIsGivenAgainIsTheNewObjects) {
  if (is_sim()) GTEST_SKIP() << "gives no number twice";
  const Gfid root = Gfid::root();
  std::set<ino_t> numbers;
  int again = 0;
  for (int i = 0; i < 60; ++i) {
    auto made = applied(records.create(root, "f", (i % 3 == 2 ? S_IFIFO : S_IFREG) | 0644u));
    again += !numbers.insert(inode_of("f")).second;
    ASSERT_EQ(must(store->lookup(root, "f")).gfid, made.gfid);
    ASSERT_EQ(must(store->attr(made.gfid)).gfid, made.gfid);
    if (i % 4 == 0) {
      applied(records.make(RecordKind::kRemoved, made.gfid));
    } else if (i % 4 == 1) {
      must(store->apply(records.unlink(made.gfid, root, "f"), {.keep_object = true}));
      ASSERT_EQ(must(store->attr(made.gfid)).nlink, 0u);
      must(store->reap(made.gfid));
    } else if (i % 4 == 2) {
      auto other = applied(records.create(root, "g", S_IFREG | 0644));
      again += !numbers.insert(inode_of("g")).second;
      ASSERT_EQ(must(store->lookup(root, "g")).gfid, other.gfid);
      auto over = records.rename(other.gfid, {root, "g"}, {root, "f"});
      over.displaced = made.gfid;
      over.last_link = true;
      applied(over);
      ASSERT_EQ(must(store->lookup(root, "f")).gfid, other.gfid);
      applied(records.unlink(other.gfid, root, "f"));
    } else {
      applied(records.unlink(made.gfid, root, "f"));
    }
    ASSERT_TRUE(store->attr(made.gfid).failed_with(ESTALE));
  }
  EXPECT_GT(again, 10) << "the file system does not do what this test is about";
}

/// The record of a file's creation, once more after the file was cut: what tells of the cut stays.
TEST_P(StoreMemoryTest, AFileThatIsToBeMadeAgainKeepsItsMeta) {
  auto made = applied(records.create(Gfid::root(), "f", S_IFREG | 0644));
  auto write = applied(records.write(made.gfid, 0, "before"));
  applied(records.truncate(made.gfid, 0));
  store.reset();
  store = must(Store::open(disk(), path, {}));
  (void)must(store->lookup(Gfid::root(), "f"));
  applied(made);
  applied(write);
  EXPECT_EQ(must(store->size(made.gfid)), 0u);
}

TEST_P(StoreMemoryTest, DamageIsSeenAtTheFirstLook) {
  auto made = applied(records.create(Gfid::root(), "f", S_IFIFO | 0644));
  store.reset();
  store = must(Store::open(disk(), path, {}));
  must(disk().remove_xattr_at(Disk::kNoDir, path + "/dirs/" + Gfid::root().hex() + "/f", layout::kMetaKey));
  EXPECT_TRUE(store->lookup(Gfid::root(), "f").failed_with(EUCLEAN));
  EXPECT_TRUE(store->lookup_again(Gfid::root(), "f").failed_with(EUCLEAN));
  EXPECT_TRUE(store->attr(made.gfid).failed_with(EUCLEAN));
}

// Each name has its own kind of gfid, numbers of inodes go from one to the other all the time, and readers
// take no lock at first.
TEST_P(StoreMemoryTest, AReaderNeverGetsAnotherNamesObject) {
  if (is_sim()) GTEST_SKIP() << "one thread only";
  const Gfid root = Gfid::root();
  std::atomic<bool> stop = false;
  std::atomic<int> seen = 0;
  auto write = [&](std::uint8_t kind) {
    RecordMaker maker;
    const std::string name(1, static_cast<char>(kind));
    while (!stop) {
      auto create = maker.create(root, name, S_IFREG | 0644);
      create.gfid.bytes[9] = kind;
      must(store->apply(create));
      must(store->apply(maker.rename(create.gfid, {root, name}, {root, name + name})));
      must(store->apply(maker.unlink(create.gfid, root, name + name)));
    }
  };
  std::thread first(write, 'a'), second(write, 'b');
  for (int i = 0; seen < 2000 && i < 2'000'000; ++i) {
    const std::string name = std::string(1 + i / 2 % 2, i % 2 == 0 ? 'a' : 'b');
    auto found = i % 3 == 0 ? store->lookup_again(root, name) : store->lookup(root, name);
    if (!found) {
      EXPECT_TRUE(found.failed_with(ENOENT)) << found.error().message();
      continue;
    }
    ++seen;
    ASSERT_EQ(found->gfid.bytes[9], static_cast<std::uint8_t>(name[0]));
  }
  stop = true;
  first.join();
  second.join();
  EXPECT_GT(seen, 0);
}

INSTANTIATE_TEST_SUITE_P(Disks, StoreMemoryTest, testing::Values("sim", "kernel"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace polder
