// SPDX-License-Identifier: GPL-3.0-or-later
// Conformance: changes that are sent twice, and records that another volume decided.
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/random.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/posix_acl.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {

using testing::ElementsAre;

// --- retries: the second sending has the answer of the first, and changes nothing

TEST_P(Conformance, RetryOfMaking) {
  if (!features().retries) GTEST_SKIP() << "the target does not recognise retries";
  const Gfid dir = must(c.mkdir(root, "d")).gfid;
  c.resend();
  EXPECT_EQ(must(c.mkdir(root, "d")).gfid, dir);
  const Gfid link = must(c.symlink(root, "l", "t")).gfid;
  c.resend();
  EXPECT_EQ(must(c.symlink(root, "l", "t")).gfid, link);
  const Gfid node = must(c.mknod(root, "p", {.mode = S_IFIFO | 0600})).gfid;
  c.resend();
  EXPECT_EQ(must(c.mknod(root, "p", {.mode = S_IFIFO | 0600})).gfid, node);
  EXPECT_EQ(must(c.link(link, root, "l2")).nlink, 2u);
  c.resend();
  EXPECT_EQ(must(c.link(link, root, "l2")).nlink, 2u);
  EXPECT_THAT(c.names(root), ElementsAre("d", "l", "l2", "p"));
}

TEST_P(Conformance, RetryOfExclusiveCreate) {
  if (!features().retries) GTEST_SKIP() << "the target does not recognise retries";
  const Opened first = must(c.create(root, "f", {.mode = 0600}, O_RDWR | O_EXCL));
  c.resend();
  const Opened second = must(c.create(root, "f", {.mode = 0600}, O_RDWR | O_EXCL));
  EXPECT_EQ(second.attr.gfid, first.attr.gfid);
  EXPECT_TRUE(second.created);
  must(c.write(second.attr.gfid, second.handle, 0, "usable"));
}

TEST_P(Conformance, RetryOfRemoving) {
  if (!features().retries) GTEST_SKIP() << "the target does not recognise retries";
  c.file(root, "f");
  c.dir(root, "d");
  must(c.unlink(root, "f"));
  c.resend();
  EXPECT_EQ(code_of(c.unlink(root, "f")), 0);
  must(c.rmdir(root, "d"));
  c.resend();
  EXPECT_EQ(code_of(c.rmdir(root, "d")), 0);
}

TEST_P(Conformance, RetryDoesNotHitASuccessor) {
  if (!features().retries) GTEST_SKIP() << "the target does not recognise retries";
  c.file(root, "f");
  must(c.unlink(root, "f"));
  Client other(*stack, 8);
  const Gfid successor = other.file(root, "f");
  c.resend();
  EXPECT_EQ(code_of(c.unlink(root, "f")), 0);
  EXPECT_EQ(must(c.lookup(root, "f")).gfid, successor) << "the retry removed somebody else's file";
}

TEST_P(Conformance, RetryOfRename) {
  if (!features().retries) GTEST_SKIP() << "the target does not recognise retries";
  const Gfid a = c.file(root, "a"), b = c.file(root, "b");
  must(c.rename(root, "a", root, "b", RENAME_EXCHANGE));
  c.resend();
  EXPECT_EQ(code_of(c.rename(root, "a", root, "b", RENAME_EXCHANGE)), 0);
  EXPECT_EQ(must(c.lookup(root, "b")).gfid, a);
  EXPECT_EQ(must(c.lookup(root, "a")).gfid, b);
  must(c.rename(root, "a", root, "c"));
  c.resend();
  EXPECT_EQ(code_of(c.rename(root, "a", root, "c")), 0);
}

TEST_P(Conformance, RetryOfAppend) {
  if (!features().retries) GTEST_SKIP() << "the target does not recognise retries";
  const Opened f = must(c.create(root, "f"));
  must(c.write(f.attr.gfid, f.handle, 0, "one", true));
  must(c.write(f.attr.gfid, f.handle, 0, "two", true));
  c.resend();
  EXPECT_EQ(must(c.write(f.attr.gfid, f.handle, 0, "two", true)).offset, 3u);
  EXPECT_EQ(c.content(f.attr.gfid), "onetwo");
}

TEST_P(Conformance, RetryOfXattrAndSetattr) {
  if (!features().retries) GTEST_SKIP() << "the target does not recognise retries";
  const Gfid file = c.file(root, "f");
  must(c.setxattr(file, "user.x", "1", XATTR_CREATE));
  c.resend();
  EXPECT_EQ(code_of(c.setxattr(file, "user.x", "1", XATTR_CREATE)), 0);
  must(c.removexattr(file, "user.x"));
  c.resend();
  EXPECT_EQ(code_of(c.removexattr(file, "user.x")), 0);
  const FileAttr first = must(c.setattr(file, {.fields = SetAttr::kMode, .mode = 0600}));
  c.resend();
  const FileAttr second = must(c.setattr(file, {.fields = SetAttr::kMode, .mode = 0600}));
  EXPECT_EQ(ns(second.ctime), ns(first.ctime)) << "the change was made once";
}

TEST_P(Conformance, RetryOfWhatNeverArrived) {
  if (!features().retries) GTEST_SKIP() << "the target does not recognise retries";
  // Only the answer says whether the first sending arrived: a retry that is not known is carried out.
  c.resend();
  c.context().sequence += 100;
  const Result<FileAttr> made = c.mkdir(root, "d");
  EXPECT_EQ(code_of(made), 0);
  EXPECT_THAT(c.names(root), ElementsAre("d"));
}

// --- replay

namespace {

class MemoryStack : public LoopStack {
 public:
  MemoryStack()
      : clock_(make_system_clock()),
        hlc_(*clock_),
        random_(make_seeded_random(42)),
        layer_(hlc_, *random_, {.keep_records = true}) {}
  FileOps& ops() override { return layer_; }
  const std::vector<Record>& records() const { return layer_.records(); }

 private:
  std::unique_ptr<Clock> clock_;
  HlcClock hlc_;
  std::unique_ptr<Random> random_;
  MemoryLayer layer_;
};

/// A history with every kind of record, and names and objects that later ones take away again.
void make_history(Client& c) {
  const Gfid root = Gfid::root();
  const Gfid dir = c.dir(root, "dir"), sub = c.dir(dir, "sub");
  const Gfid file = c.file(dir, "file", "some content");
  must(c.link(file, sub, "hard"));
  must(c.symlink(root, "link", "dir/file"));
  must(c.mknod(root, "fifo", {.mode = S_IFIFO | 0640}));
  must(c.mknod(sub, "null", {.mode = S_IFCHR | 0666, .rdev_major = 1, .rdev_minor = 3}));
  must(c.setxattr(file, "user.key", "value"));
  must(c.setxattr(file, "user.gone", "value"));
  must(c.removexattr(file, "user.gone"));
  const Acl acl{{{AclTag::kUserObj, 7},
                 {AclTag::kUser, 5, 99},
                 {AclTag::kGroupObj, 5},
                 {AclTag::kMask, 7},
                 {AclTag::kOther, 0}}};
  must(c.setxattr(sub, kAclDefault, build_acl(acl)));
  const Gfid inherits = c.file(sub, "inherits", "0123456789");
  must(c.setattr(inherits, {.fields = SetAttr::kUid | SetAttr::kMtime, .uid = 5, .mtime = {1234, 5678}}));
  c.truncate(inherits, 6);
  must(c.fallocate(inherits, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 2));
  must(c.fallocate(inherits, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4, 1));
  must(c.fallocate(inherits, 0, 0, 9));
  must(c.copy_range(file, 0, inherits, 5, 4));
  // Names that come back: a wins over x, x is made anew, directories trade places.
  c.file(root, "x", "first");
  c.file(root, "a", "winner");
  must(c.rename(root, "a", root, "x"));
  must(c.unlink(root, "x"));
  c.file(root, "y", "moved here");
  must(c.rename(root, "y", root, "x"));
  const Gfid one = c.dir(root, "one"), two = c.dir(one, "two");
  must(c.rename(one, "two", root, "two"));
  must(c.rename(root, "one", two, "one"));
  must(c.rename(dir, "file", root, "fifo", RENAME_EXCHANGE));
  c.dir(root, "gone");
  must(c.rmdir(root, "gone"));
  c.chmod(inherits, 0604);
}

}  // namespace

TEST_P(Conformance, ReplayGivesTheSameTree) {
  if (!features().replay) GTEST_SKIP() << "the target does not take replays";
  MemoryStack source;
  Client origin(source);
  make_history(origin);
  must(c.replay(source.records()));
  std::vector<std::string> expected = origin.dump(), got = c.dump();
  expected.erase(expected.begin()), got.erase(got.begin());  // the root's own line: it was made apart
  EXPECT_EQ(got, expected);
}

TEST_P(Conformance, ReplayOfAnyTailChangesNothing) {
  if (!features().replay) GTEST_SKIP() << "the target does not take replays";
  MemoryStack source;
  Client origin(source);
  make_history(origin);
  const std::span<const Record> all = source.records();
  must(c.replay(all));
  const std::vector<std::string> expected = c.dump();
  for (std::size_t from = 0; from < all.size(); from += 3) {
    must(c.replay(all.subspan(from)));
    must(c.replay(all.subspan(from)));
    ASSERT_EQ(c.dump(), expected) << "after folding from record " << from << " (" << to_string(all[from].kind)
                                  << ")";
  }
}

TEST_P(Conformance, ReplayInSmallSteps) {
  if (!features().replay) GTEST_SKIP() << "the target does not take replays";
  MemoryStack source;
  Client origin(source);
  make_history(origin);
  for (const Record& record : source.records()) {
    must(c.replay({&record, 1}));
    must(c.replay({&record, 1}));
  }
  std::vector<std::string> expected = origin.dump(), got = c.dump();
  expected.erase(expected.begin()), got.erase(got.begin());
  EXPECT_EQ(got, expected);
}

TEST_P(Conformance, ReplayRemovesByGfid) {
  if (!features().replay) GTEST_SKIP() << "the target does not take replays";
  const Gfid file = c.file(root, "a", "x");
  must(c.link(file, c.dir(root, "d"), "b"));
  Record record;
  record.kind = RecordKind::kRemoved;
  record.gfid = file;
  record.time_ns = 1;
  for (int i = 0; i < 2; ++i) must(c.replay({&record, 1}));
  EXPECT_THAT(c.names(root), ElementsAre("d"));
  EXPECT_EQ(code_of(c.getattr(file)), ESTALE);
}

/// As a geo-replication primary states a file that a restore brought back: the object, its bytes, its name.
TEST_P(Conformance, ReplayMakesAFileAgainThatIsRemovedAndOpen) {
  if (!features().replay) GTEST_SKIP() << "the target does not take replays";
  const Gfid file = c.file(root, "f", "old");
  const auto opened = must(c.open(file));
  must(c.unlink(root, "f"));
  Record object;
  object.kind = RecordKind::kCreate;
  object.gfid = file;
  object.state.mode = S_IFREG | 0600;
  object.time_ns = 1;
  Record bytes;
  bytes.kind = RecordKind::kWrite;
  bytes.gfid = file;
  bytes.data = Buffer::copy_of("new");
  bytes.length = bytes.data.size();
  bytes.time_ns = 1;
  Record name;
  name.kind = RecordKind::kLink;
  name.gfid = file;
  name.name = {root, "f"};
  name.time_ns = 1;
  must(c.replay({&object, 1}));
  must(c.replay({&bytes, 1}));
  must(c.release(file, opened.handle));
  must(c.replay({&name, 1}));
  EXPECT_EQ(must(c.lookup(root, "f")).gfid, file);
  EXPECT_EQ(c.content(file), "new");
}

TEST_P(Conformance, ReplayStatesTheRoot) {
  if (!features().replay) GTEST_SKIP() << "the target does not take replays";
  c.file(root, "stays");
  must(c.setxattr(root, "user.gone", "1"));
  Record record;
  record.kind = RecordKind::kCreate;
  record.gfid = root;
  record.state.mode = S_IFDIR | 0751;
  record.state.xattrs["user.there"] = "2";
  record.time_ns = 1;
  for (int i = 0; i < 2; ++i) must(c.replay({&record, 1}));
  EXPECT_THAT(must(c.listxattr(root)), ElementsAre("user.there"));
  EXPECT_EQ(c.attr(root).mode, S_IFDIR | 0751u);
  EXPECT_THAT(c.names(root), ElementsAre("stays"));
  record.state.mode = S_IFREG | 0600;
  EXPECT_NE(code_of(c.replay({&record, 1})), 0) << "the root is a directory";
}

TEST_P(Conformance, ReplayTakesRecordsAboutTheLog) {
  if (!features().replay) GTEST_SKIP() << "the target does not take replays";
  std::vector<Record> records(3);
  records[0].kind = RecordKind::kMark;
  records[0].text = "mark";
  records[1].kind = RecordKind::kApplied;
  records[1].text = "session";
  records[1].value = "position";
  records[2].kind = RecordKind::kMeta;
  records[2].key = "fact";
  records[2].value = "value";
  must(c.replay(records));
  EXPECT_TRUE(c.names(root).empty());
}

TEST_P(Conformance, ReplayRefusesHostileRecords) {
  if (!features().replay) GTEST_SKIP() << "the target does not take replays";
  const Gfid file = c.file(root, "f", "x");
  Record good;
  good.kind = RecordKind::kCreate;
  good.gfid = file;
  good.gfid.bytes[15] ^= 1;
  good.name = {root, "new"};
  good.state.mode = S_IFREG | 0600;
  good.time_ns = 1;
  std::vector<Record> bad(10, good);
  bad[0].name.name = "../escape";
  bad[1].name.name = "";
  bad[2].name.name = std::string(300, 'n');
  bad[3].gfid = root;
  bad[4].gfid = Gfid{};
  bad[5].state.mode = 0600;
  bad[6].state.xattrs["trusted.polder.gfid"] = "x";
  bad[7].state.xattrs["system.posix_acl_access"] = "garbage";
  bad[8].state.mtime.tv_nsec = -1;
  bad[9].kind = static_cast<RecordKind>(200);
  for (const Record& record : bad) {
    const std::vector<Record> call = {good, record};
    EXPECT_NE(code_of(c.replay(call)), 0);
    EXPECT_THAT(c.names(root), ElementsAre("f")) << "a call is checked before anything of it is applied";
  }
  Record far;
  far.kind = RecordKind::kWrite;
  far.gfid = file;
  far.offset = UINT64_MAX - 1;
  far.length = 10;
  EXPECT_EQ(code_of(c.replay({&far, 1})), EFBIG);
}

}  // namespace polder
