// SPDX-License-Identifier: GPL-3.0-or-later
#include <gmock/gmock.h>

#include <atomic>
#include <set>
#include <thread>

#include "core-volume/layers/store/store_test_support.h"

namespace polder {
namespace {

class StoreTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "kernel" && ::geteuid() != 0) GTEST_SKIP() << "needs root: trusted extended attributes";
    test_disk = std::make_unique<TestDisk>(GetParam());
    path = test_disk->path("b1");
    must(Store::format(disk(), path, kTestIdentity, kFormatTime));
    store = must(Store::open(disk(), path, {}));
  }
  Disk& disk() { return test_disk->disk(); }
  Record applied(Record record) {
    must(store->apply(record));
    return record;
  }
  Record file(const std::string& name) { return applied(records.create(Gfid::root(), name, S_IFREG | 0644)); }

  static constexpr std::uint64_t kFormatTime = 1'600'000'000'000'000'001;
  std::unique_ptr<TestDisk> test_disk;
  std::string path;
  std::unique_ptr<Store> store;
  RecordMaker records;
};

std::string error_of(const auto& result) {
  EXPECT_FALSE(result);
  return result ? "" : result.error().message();
}

TEST_P(StoreTest, NewBrickHasOnlyItsRoot) {
  auto root = must(store->attr(Gfid::root()));
  EXPECT_EQ(root.mode, S_IFDIR | 0755u);
  EXPECT_EQ(root.nlink, 1u);
  EXPECT_EQ(root.ctime.tv_nsec, 1);
  EXPECT_TRUE(must(store->is_empty(Gfid::root())));
  EXPECT_TRUE(store->parent_of(Gfid::root()).failed_with(ENODATA));
  auto native = must(disk().stat(Disk::kNoDir, path));
  EXPECT_EQ(native.st_mode & 07777, 0700u);
  EXPECT_EQ(must(disk().readlink(Disk::kNoDir, path + "/root")), "dirs/" + Gfid::root().hex());
}

TEST_P(StoreTest, FilesArePlainFilesAndSubdirectoriesMarkedLinks) {
  auto dir = applied(records.create(Gfid::root(), "sub", S_IFDIR | 0750));
  auto made = applied(records.create(dir.gfid, "file", S_IFREG | 0640));
  applied(records.write(made.gfid, 0, "hello"));
  auto root_dir = path + "/dirs/" + Gfid::root().hex();
  EXPECT_EQ(must(disk().readlink(Disk::kNoDir, root_dir + "/sub")), "../" + dir.gfid.hex());
  auto native = must(disk().stat(Disk::kNoDir, path + "/dirs/" + dir.gfid.hex() + "/file"));
  EXPECT_EQ(native.st_nlink, 2u);
  EXPECT_EQ(native.st_size, 5);
  auto index_path = path + "/.polder/gfid/" + layout::index_dir(made.gfid) + "/" + made.gfid.hex();
  EXPECT_EQ(must(disk().stat(Disk::kNoDir, index_path)).st_ino, native.st_ino);

  auto attr = must(store->lookup(dir.gfid, "file"));
  EXPECT_EQ(attr.gfid, made.gfid);
  EXPECT_EQ(attr.nlink, 1u);
  EXPECT_EQ(must(store->lookup(Gfid::root(), "sub")).gfid, dir.gfid);
  EXPECT_EQ(must(store->parent_of(dir.gfid)), (EntryName{Gfid::root(), "sub"}));
  EXPECT_EQ(must(store->read(made.gfid, 1, 100)).text(), "ello");
  EXPECT_TRUE(store->lookup(made.gfid, "x").failed_with(ENOTDIR));
  EXPECT_TRUE(store->lookup(Gfid{{9}}, "x").failed_with(ESTALE));
  EXPECT_TRUE(store->attr(Gfid{{9}}).failed_with(ESTALE));
  EXPECT_TRUE(store->read(dir.gfid, 0, 1).failed_with(EISDIR));
}

TEST_P(StoreTest, FactsAboutTheVolumeSurviveAndAreReplaced) {
  Record record = records.make(RecordKind::kApplied, {});
  record.text = "3f2b8c1e-session";
  record.value = std::string("position\0one", 12);
  applied(record);
  EXPECT_EQ(must(store->applied("3f2b8c1e-session")), record.value);
  record.value = "position two";
  applied(record);
  EXPECT_EQ(must(store->applied("3f2b8c1e-session")), "position two");
  EXPECT_EQ(must(store->applied("another")), std::nullopt);
  EXPECT_TRUE(store->applied(std::string(300, 'x')).failed_with(EINVAL));

  Record fact = records.make(RecordKind::kMeta, {});
  fact.key = "read-only";
  fact.value = "yes";
  applied(fact);
  EXPECT_EQ(must(store->volume_fact("read-only")), "yes");
  fact.value = std::nullopt;
  applied(fact);
  applied(fact);
  EXPECT_EQ(must(store->volume_fact("read-only")), std::nullopt);
}

TEST_P(StoreTest, TimesAreTheRecords) {
  auto made = file("f");
  auto write = applied(records.write(made.gfid, 0, "x"));
  auto attr = must(store->attr(made.gfid));
  EXPECT_TRUE(layout::same_time(attr.ctime, Hlc{write.time_ns}.to_timespec()));
  EXPECT_TRUE(layout::same_time(attr.mtime, attr.ctime));
  EXPECT_TRUE(layout::same_time(must(store->attr(Gfid::root())).ctime, Hlc{made.time_ns}.to_timespec()));

  auto change = records.make(RecordKind::kSetattr, made.gfid);
  change.state = must(store->state(made.gfid));
  change.state.mode = S_IFREG | 04755;
  change.state.uid = 1000;
  change.state.mtime = {12345, 678};
  applied(change);
  attr = must(store->attr(made.gfid));
  EXPECT_EQ(attr.mode, S_IFREG | 04755u);
  EXPECT_EQ(attr.uid, 1000u);
  EXPECT_EQ(attr.mtime.tv_sec, 12345);
  EXPECT_TRUE(layout::same_time(attr.ctime, Hlc{change.time_ns}.to_timespec()));
}

TEST_P(StoreTest, DirectoryTimesAreThoseOfTheNewestRecordWhateverTheOrder) {
  auto first = records.create(Gfid::root(), "a", S_IFREG | 0644);
  auto second = records.create(Gfid::root(), "b", S_IFREG | 0644);
  applied(second);
  applied(first);
  EXPECT_TRUE(layout::same_time(must(store->attr(Gfid::root())).mtime, Hlc{second.time_ns}.to_timespec()));
}

TEST_P(StoreTest, OwnAttributesAreHidden) {
  auto made = file("f");
  auto set = records.make(RecordKind::kXattr, made.gfid);
  set.key = "user.colour";
  set.value = "blue";
  set.state.mode = S_IFREG | 0644;
  applied(set);
  EXPECT_EQ(must(store->list_xattr(made.gfid)), std::vector<std::string>{"user.colour"});
  EXPECT_EQ(must(store->get_xattr(made.gfid, "user.colour")), "blue");
  EXPECT_TRUE(store->get_xattr(made.gfid, layout::kMetaKey).failed_with(ENODATA));
  set.key = "trusted.polder.meta";
  EXPECT_TRUE(store->apply(set).failed_with(EPERM));
}

TEST_P(StoreTest, LongListingsComeInPagesEachNameOnce) {
  std::set<std::string> expected;
  for (int i = 0; i < 700; ++i) {
    auto name = fmt::format("n{}", i);
    if (i % 10 == 0)
      applied(records.create(Gfid::root(), name, S_IFDIR | 0755));
    else
      file(name);
    expected.insert(name);
  }
  auto expected_directory = [](const std::string& name) { return name[0] == 'n' && name.back() == '0'; };
  std::set<std::string> seen;
  std::uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = must(store->list(Gfid::root(), cookie, 64, seen.size() % 2 == 0));
    for (const auto& entry : page.entries) {
      EXPECT_TRUE(seen.insert(entry.name).second) << entry.name;
      EXPECT_GT(entry.cookie, cookie);
      cookie = entry.cookie;
      EXPECT_EQ(entry.attr.is_directory(), expected_directory(entry.name));
    }
    end = page.end;
    if (seen.size() < 200) file(fmt::format("later{}", seen.size()));
  }
  EXPECT_TRUE(std::ranges::includes(seen, expected));
}

TEST_P(StoreTest, OrphanLivesUntilReaped) {
  auto made = file("f");
  applied(records.write(made.gfid, 0, "kept"));
  must(store->apply(records.unlink(made.gfid, Gfid::root(), "f"), {.keep_object = true}));
  EXPECT_TRUE(must(store->is_orphan(made.gfid)));
  EXPECT_TRUE(store->lookup(Gfid::root(), "f").failed_with(ENOENT));
  EXPECT_EQ(must(store->attr(made.gfid)).nlink, 0u);
  EXPECT_EQ(must(store->read(made.gfid, 0, 10)).text(), "kept");
  EXPECT_EQ(must(store->orphans()), std::vector{made.gfid});
  must(store->reap(made.gfid));
  EXPECT_TRUE(store->attr(made.gfid).failed_with(ESTALE));
  EXPECT_TRUE(must(store->orphans()).empty());
}

TEST_P(StoreTest, ScanSeesEverythingAndResumes) {
  std::set<Gfid> directories{Gfid::root()}, objects;
  for (int i = 0; i < 20; ++i)
    directories.insert(applied(records.create(Gfid::root(), fmt::format("d{}", i), S_IFDIR | 0755)).gfid);
  for (int i = 0; i < 40; ++i) objects.insert(file(fmt::format("f{}", i)).gfid);
  std::set<Gfid> seen_directories, seen_objects;
  ScanCursor cursor;
  while (true) {
    auto scan = store->scan(cursor);  // a new one each time: resumed by the cursor alone
    auto items = must(scan->next(7));
    if (items.empty()) break;
    for (const auto& item : items)
      EXPECT_TRUE((item.directory ? seen_directories : seen_objects).insert(item.gfid).second);
    cursor = scan->cursor();
  }
  EXPECT_EQ(seen_directories, directories);
  EXPECT_EQ(seen_objects, objects);
}

TEST_P(StoreTest, RefusesWhatIsNotTheBrick) {
  auto open = [&](const std::string& where, StoreOptions options = {}) {
    return error_of(Store::open(disk(), where, options));
  };
  EXPECT_THAT(open(path), testing::HasSubstr("in use"));
  store.reset();
  EXPECT_THAT(open(test_disk->path("none")), testing::HasSubstr("does not exist"));
  must(disk().mkdir(Disk::kNoDir, test_disk->path("empty"), 0755));
  EXPECT_THAT(open(test_disk->path("empty")), testing::HasSubstr("is not a brick"));
  auto other = open(path, {.volume = Gfid{{7}}, .brick = {}});
  EXPECT_THAT(other, testing::HasSubstr(Gfid{{7}}.hex()));
  EXPECT_THAT(other, testing::HasSubstr(kTestIdentity.volume.hex()));
  EXPECT_THAT(open(path, {.volume = kTestIdentity.volume, .brick = Gfid{{8}}}),
              testing::HasSubstr(Gfid{{8}}.hex()));
  must(Store::open(disk(), path, {.volume = kTestIdentity.volume, .brick = kTestIdentity.brick}));

  // A copy of the state without the attribute of the root, as `cp -r` makes it.
  auto root = must(disk().open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY));
  auto identity = must(disk().get_xattr(root.fd(), layout::kBrickKey));
  must(disk().remove_xattr(root.fd(), layout::kBrickKey));
  EXPECT_THAT(open(path), testing::HasSubstr("copy"));
  must(disk().set_xattr(root.fd(), layout::kBrickKey, identity + "x"));
  EXPECT_THAT(open(path), testing::HasSubstr("different bricks"));
}

TEST_P(StoreTest, RefusesToFormatWhatIsUsed) {
  auto format = [&](const std::string& where) {
    return error_of(Store::format(disk(), where, kTestIdentity, 1));
  };
  EXPECT_THAT(format(path), testing::HasSubstr("in use"));
  store.reset();
  EXPECT_THAT(format(path), testing::HasSubstr("already is brick"));
  EXPECT_THAT(format(path + "/inside"), testing::HasSubstr("lies inside"));
  EXPECT_THAT(format("relative"), testing::HasSubstr("not absolute"));
  must(disk().mkdir(Disk::kNoDir, test_disk->path("full"), 0755));
  must(disk().mkdir(Disk::kNoDir, test_disk->path("full/thing"), 0755));
  EXPECT_THAT(format(test_disk->path("full")), testing::HasSubstr("not empty (\"thing\")"));
}

TEST_P(StoreTest, ForeignFileInTheBrickIsReportedNotGuessed) {
  auto foreign = path + "/dirs/" + Gfid::root().hex() + "/foreign";
  must(disk().open(Disk::kNoDir, foreign, O_CREAT | O_WRONLY, 0644));
  auto found = store->lookup(Gfid::root(), "foreign");
  EXPECT_TRUE(found.failed_with(EUCLEAN));
  EXPECT_THAT(found.error().message(), testing::HasSubstr("not made by Polder"));
  EXPECT_TRUE(must(store->list(Gfid::root(), 0, 10, true)).entries.empty());
}

// Readers take no lock at first; what they read while a name gets another object (and another kind of one) is
// not to be told.
TEST_P(StoreTest, ANameWhoseObjectIsExchangedIsThereAllTheTime) {
  if (GetParam() == "sim") GTEST_SKIP() << "one thread only";
  const Gfid root = Gfid::root();
  Record there = file("a"), other = applied(records.create(root, "b", S_IFDIR | 0755));
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) {
      auto exchange = records.make(RecordKind::kRename, there.gfid);
      exchange.name = {root, "a"};
      exchange.to = {root, "b"};
      exchange.displaced = other.gfid;
      exchange.exchange = true;
      applied(exchange);
      std::swap(there, other);
    }
  });
  for (int i = 0; i < 3000; ++i) {
    auto found = store->lookup(root, i % 2 == 0 ? "a" : "b");
    EXPECT_TRUE(found) << found.error().message();
    EXPECT_EQ(must(store->list(root, 0, 10, i % 4 < 2)).entries.size(), 2u);
  }
  stop = true;
  writer.join();
}

INSTANTIATE_TEST_SUITE_P(Disks, StoreTest, testing::Values("sim", "kernel"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace polder
