// SPDX-License-Identifier: GPL-3.0-or-later
// Conformance: rename.
#include <linux/fs.h>

#include "core-volume/layer/conformance/conformance.h"

namespace polder {

using testing::ElementsAre;

TEST_P(Conformance, RenameWithinADirectory) {
  const Gfid file = c.file(root, "a", "text");
  must(c.rename(root, "a", root, "b"));
  EXPECT_THAT(c.names(root), ElementsAre("b"));
  EXPECT_EQ(must(c.lookup(root, "b")).gfid, file);
  EXPECT_EQ(c.content(file), "text");
}

TEST_P(Conformance, RenameAcrossDirectories) {
  const Gfid from = c.dir(root, "from"), to = c.dir(root, "to");
  const Gfid file = c.file(from, "f"), sub = c.dir(from, "sub");
  c.file(sub, "deep");
  must(c.rename(from, "f", to, "g"));
  must(c.rename(from, "sub", to, "sub2"));
  EXPECT_TRUE(c.names(from).empty());
  EXPECT_THAT(c.names(to), ElementsAre("g", "sub2"));
  EXPECT_EQ(must(c.lookup(to, "g")).gfid, file);
  EXPECT_EQ(must(c.lookup(to, "sub2")).gfid, sub);
  EXPECT_THAT(c.names(sub), ElementsAre("deep"));
  must(c.rmdir(root, "from"));
}

TEST_P(Conformance, RenameOverAFile) {
  const Gfid winner = c.file(root, "a", "winner"), loser = c.file(root, "b", "loser");
  must(c.rename(root, "a", root, "b"));
  EXPECT_THAT(c.names(root), ElementsAre("b"));
  EXPECT_EQ(must(c.lookup(root, "b")).gfid, winner);
  EXPECT_EQ(c.content(winner), "winner");
  EXPECT_EQ(code_of(c.getattr(loser)), ESTALE);
}

TEST_P(Conformance, RenameOverOneOfSeveralLinks) {
  const Gfid winner = c.file(root, "a"), loser = c.file(root, "b", "kept");
  must(c.link(loser, root, "c"));
  must(c.rename(root, "a", root, "b"));
  EXPECT_EQ(must(c.lookup(root, "b")).gfid, winner);
  EXPECT_EQ(must(c.lookup(root, "c")).gfid, loser);
  EXPECT_EQ(c.attr(loser).nlink, 1u);
  EXPECT_EQ(c.content(loser), "kept");
}

TEST_P(Conformance, RenameOverAnOpenFile) {
  c.file(root, "a");
  const Opened loser = must(c.create(root, "b"));
  must(c.write(loser.attr.gfid, loser.handle, 0, "still here"));
  must(c.rename(root, "a", root, "b"));
  EXPECT_EQ(must(c.read(loser.attr.gfid, loser.handle, 0, 100)), "still here");
  EXPECT_EQ(c.attr(loser.attr.gfid).nlink, 0u);
  must(c.release(loser.attr.gfid, loser.handle));
  EXPECT_EQ(code_of(c.getattr(loser.attr.gfid)), ESTALE);
}

TEST_P(Conformance, RenameOverAnEmptyDirectory) {
  const Gfid dir = c.dir(root, "a"), loser = c.dir(root, "b");
  c.file(dir, "f");
  must(c.rename(root, "a", root, "b"));
  EXPECT_EQ(must(c.lookup(root, "b")).gfid, dir);
  EXPECT_THAT(c.names(dir), ElementsAre("f"));
  EXPECT_EQ(code_of(c.getattr(loser)), ESTALE);
}

TEST_P(Conformance, RenameRefusals) {
  const Gfid full = c.dir(root, "full");
  c.file(full, "f");
  c.dir(root, "dir");
  c.file(root, "file");
  EXPECT_EQ(code_of(c.rename(root, "absent", root, "x")), ENOENT);
  EXPECT_EQ(code_of(c.rename(root, "dir", root, "full")), ENOTEMPTY);
  EXPECT_EQ(code_of(c.rename(root, "dir", root, "file")), ENOTDIR);
  EXPECT_EQ(code_of(c.rename(root, "file", root, "dir")), EISDIR);
  EXPECT_EQ(code_of(c.rename(root, "file", root, "x", 64)), EINVAL);
  EXPECT_EQ(code_of(c.rename(root, "file", root, "x", RENAME_NOREPLACE | RENAME_EXCHANGE)), EINVAL);
  EXPECT_EQ(code_of(c.rename(root, "file", root, "x", RENAME_WHITEOUT)), EINVAL);
  EXPECT_THAT(c.names(root), ElementsAre("dir", "file", "full"));
}

TEST_P(Conformance, RenameIntoItsOwnSubtree) {
  const Gfid a = c.dir(root, "a"), b = c.dir(a, "b"), d = c.dir(b, "c");
  EXPECT_EQ(code_of(c.rename(root, "a", a, "x")), EINVAL);
  EXPECT_EQ(code_of(c.rename(root, "a", d, "x")), EINVAL);
  EXPECT_EQ(code_of(c.rename(root, "a", b, "c")), EINVAL);
  EXPECT_EQ(code_of(c.rename(b, "c", root, "a")), ENOTEMPTY) << "over its own ancestor";
  EXPECT_EQ(code_of(c.rename(root, "a", b, "c", RENAME_EXCHANGE)), EINVAL);
  EXPECT_EQ(code_of(c.rename(b, "c", root, "a", RENAME_EXCHANGE)), EINVAL);
  EXPECT_EQ(must(c.lookup(b, "c")).gfid, d);
}

TEST_P(Conformance, RenameToItself) {
  const Gfid file = c.file(root, "a"), dir = c.dir(root, "d");
  const FileAttr before = c.attr(root);
  must(c.rename(root, "a", root, "a"));
  must(c.rename(root, "d", root, "d"));
  EXPECT_EQ(must(c.lookup(root, "a")).gfid, file);
  EXPECT_EQ(must(c.lookup(root, "d")).gfid, dir);
  EXPECT_EQ(ns(c.attr(root).ctime), ns(before.ctime));
  EXPECT_EQ(code_of(c.rename(root, "a", root, "a", RENAME_NOREPLACE)), EEXIST);
}

TEST_P(Conformance, RenameBetweenLinksOfOneFileDoesNothing) {
  const Gfid file = c.file(root, "a");
  must(c.link(file, root, "b"));
  const FileAttr before = c.attr(file);
  must(c.rename(root, "a", root, "b"));
  EXPECT_THAT(c.names(root), ElementsAre("a", "b"));
  EXPECT_EQ(c.attr(file).nlink, 2u);
  EXPECT_EQ(ns(c.attr(file).ctime), ns(before.ctime));
}

TEST_P(Conformance, RenameNoReplace) {
  const Gfid a = c.file(root, "a"), b = c.file(root, "b");
  EXPECT_EQ(code_of(c.rename(root, "a", root, "b", RENAME_NOREPLACE)), EEXIST);
  EXPECT_EQ(must(c.lookup(root, "b")).gfid, b);
  must(c.rename(root, "a", root, "c", RENAME_NOREPLACE));
  EXPECT_EQ(must(c.lookup(root, "c")).gfid, a);
}

TEST_P(Conformance, RenameExchange) {
  const Gfid dir = c.dir(root, "d");
  const Gfid inner = c.file(dir, "f", "inner"), outer = c.dir(root, "o");
  c.file(outer, "child");
  must(c.rename(dir, "f", root, "o", RENAME_EXCHANGE));
  EXPECT_EQ(must(c.lookup(root, "o")).gfid, inner);
  EXPECT_EQ(must(c.lookup(dir, "f")).gfid, outer);
  EXPECT_EQ(c.attr(inner).nlink, 1u);
  EXPECT_EQ(c.attr(outer).nlink, 1u);
  EXPECT_THAT(c.names(outer), ElementsAre("child"));
  EXPECT_EQ(code_of(c.rename(dir, "f", root, "absent", RENAME_EXCHANGE)), ENOENT);
  EXPECT_EQ(code_of(c.rename(root, "d", outer, "child", RENAME_EXCHANGE)), EINVAL) << "outer is below d now";
}

TEST_P(Conformance, RenameKeepsLinkCounts) {
  const Gfid file = c.file(root, "a");
  must(c.link(file, root, "b"));
  must(c.rename(root, "a", root, "c"));
  EXPECT_EQ(c.attr(file).nlink, 2u);
  EXPECT_THAT(c.names(root), ElementsAre("b", "c"));
}

TEST_P(Conformance, RenameOfSpecialFiles) {
  const Gfid link = must(c.symlink(root, "l", "t")).gfid;
  const Gfid fifo = must(c.mknod(root, "p", {.mode = S_IFIFO | 0600})).gfid;
  must(c.rename(root, "l", root, "p"));
  EXPECT_EQ(must(c.lookup(root, "p")).gfid, link);
  EXPECT_EQ(must(c.readlink(link)), "t");
  EXPECT_EQ(code_of(c.getattr(fifo)), ESTALE);
}

TEST_P(Conformance, RenameTimes) {
  const Gfid from = c.dir(root, "from"), to = c.dir(root, "to"), file = c.file(from, "f");
  const FileAttr before = c.attr(file);
  must(c.rename(from, "f", to, "f"));
  const FileAttr after = c.attr(file), from_after = c.attr(from), to_after = c.attr(to);
  EXPECT_GT(ns(after.ctime), ns(before.ctime));
  EXPECT_EQ(ns(after.mtime), ns(before.mtime));
  EXPECT_EQ(ns(from_after.mtime), ns(after.ctime));
  EXPECT_EQ(ns(from_after.ctime), ns(after.ctime));
  EXPECT_EQ(ns(to_after.mtime), ns(after.ctime));
  EXPECT_EQ(ns(to_after.ctime), ns(after.ctime));
}

TEST_P(Conformance, RenameOfADirectoryChain) {
  // A cycle would show as a listing that never ends.
  const Gfid a = c.dir(root, "a"), b = c.dir(root, "b");
  must(c.rename(root, "b", a, "b"));
  EXPECT_EQ(code_of(c.rename(root, "a", b, "a")), EINVAL);
  must(c.rename(a, "b", root, "b"));
  must(c.rename(root, "a", b, "a"));
  EXPECT_EQ(must(c.lookup(b, "a")).gfid, a);
  EXPECT_THAT(c.names(root), ElementsAre("b"));
}

}  // namespace polder
