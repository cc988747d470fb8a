// SPDX-License-Identifier: GPL-3.0-or-later
// Conformance: names, making objects, links, removal.
#include "core-volume/layer/conformance/conformance.h"

namespace polder {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_P(Conformance, RootIsADirectory) {
  const FileAttr a = c.attr(root);
  EXPECT_EQ(a.gfid, root);
  EXPECT_TRUE(a.is_directory());
  EXPECT_EQ(a.nlink, 1u);
  EXPECT_THAT(c.names(root), IsEmpty());
}

TEST_P(Conformance, LookupFindsWhatWasMade) {
  const Gfid dir = c.dir(root, "dir");
  const Gfid file = c.file(dir, "file");
  EXPECT_EQ(must(c.lookup(root, "dir")).gfid, dir);
  EXPECT_EQ(must(c.lookup(dir, "file")).gfid, file);
  EXPECT_NE(dir, file);
}

TEST_P(Conformance, LookupErrors) {
  const Gfid file = c.file(root, "file");
  Gfid unknown = file;
  unknown.bytes[15] ^= 1;
  EXPECT_EQ(code_of(c.lookup(root, "absent")), ENOENT);
  EXPECT_EQ(code_of(c.lookup(file, "x")), ENOTDIR);
  EXPECT_EQ(code_of(c.lookup(unknown, "x")), ESTALE);
  EXPECT_EQ(code_of(c.getattr(unknown)), ESTALE);
}

TEST_P(Conformance, BadNamesAreRefusedEverywhere) {
  const Gfid file = c.file(root, "file");
  const std::string too_long(256, 'n');
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("a\0b", 3), too_long}) {
    const int expected = name == too_long ? ENAMETOOLONG : EINVAL;
    EXPECT_EQ(code_of(c.lookup(root, name)), expected);
    EXPECT_EQ(code_of(c.mkdir(root, name)), expected);
    EXPECT_EQ(code_of(c.mknod(root, name, {.mode = S_IFIFO | 0600})), expected);
    EXPECT_EQ(code_of(c.create(root, name)), expected);
    EXPECT_EQ(code_of(c.symlink(root, name, "t")), expected);
    EXPECT_EQ(code_of(c.link(file, root, name)), expected);
    EXPECT_EQ(code_of(c.unlink(root, name)), expected);
    EXPECT_EQ(code_of(c.rmdir(root, name)), expected);
    EXPECT_EQ(code_of(c.rename(root, "file", root, name)), expected);
    EXPECT_EQ(code_of(c.rename(root, name, root, "file")), expected);
  }
  EXPECT_THAT(c.names(root), ElementsAre("file"));
}

TEST_P(Conformance, NamesOfAnyBytes) {
  const std::string longest(255, 'n'), not_utf8 = "\xff\xfe\x80 name\n", tricky = "...", spaces = "  ";
  for (const std::string& name : {longest, not_utf8, tricky, spaces}) {
    const Gfid gfid = c.file(root, name, name);
    EXPECT_EQ(must(c.lookup(root, name)).gfid, gfid);
    EXPECT_EQ(c.content(gfid), name);
    must(c.rename(root, name, root, name + (name == longest ? "" : "2")));
  }
  EXPECT_THAT(c.names(root),
              testing::UnorderedElementsAre(longest, not_utf8 + "2", tricky + "2", spaces + "2"));
}

TEST_P(Conformance, NamesThatLookLikeInternalOnes) {
  // Whatever a brick calls its own things must not collide with what users may call theirs.
  for (const char* name : {".polder", "gfid", ".glusterfs", "trusted.polder.gfid"}) {
    const Gfid gfid = c.dir(root, name);
    EXPECT_EQ(must(c.lookup(root, name)).gfid, gfid);
    must(c.rmdir(root, name));
  }
  EXPECT_THAT(c.names(root), IsEmpty());
}

TEST_P(Conformance, MakingOverAnExistingName) {
  const Gfid file = c.file(root, "x");
  EXPECT_EQ(code_of(c.mkdir(root, "x")), EEXIST);
  EXPECT_EQ(code_of(c.mknod(root, "x", {.mode = S_IFREG | 0600})), EEXIST);
  EXPECT_EQ(code_of(c.symlink(root, "x", "t")), EEXIST);
  EXPECT_EQ(code_of(c.create(root, "x", {.mode = 0600}, O_RDWR | O_EXCL)), EEXIST);
  EXPECT_EQ(code_of(c.link(file, root, "x")), EEXIST);
}

TEST_P(Conformance, MakingBelowWhatIsNotADirectory) {
  const Gfid file = c.file(root, "f");
  EXPECT_EQ(code_of(c.mkdir(file, "x")), ENOTDIR);
  EXPECT_EQ(code_of(c.create(file, "x")), ENOTDIR);
  EXPECT_EQ(code_of(c.symlink(file, "x", "t")), ENOTDIR);
  EXPECT_EQ(code_of(c.link(file, file, "x")), ENOTDIR);
  EXPECT_EQ(code_of(c.unlink(file, "x")), ENOTDIR);
  EXPECT_EQ(code_of(c.rename(root, "f", file, "x")), ENOTDIR);
}

TEST_P(Conformance, MakingInARemovedDirectory) {
  const Gfid dir = c.dir(root, "d");
  must(c.rmdir(root, "d"));
  EXPECT_EQ(code_of(c.mkdir(dir, "x")), ESTALE);
  EXPECT_EQ(code_of(c.create(dir, "x")), ESTALE);
}

TEST_P(Conformance, MakingInARemovedDirectoryThatIsOpen) {
  const Gfid dir = c.dir(root, "d"), file = c.file(root, "f");
  const Opened opened = must(c.open(dir, O_RDONLY | O_DIRECTORY));
  must(c.rmdir(root, "d"));
  EXPECT_EQ(c.attr(dir).nlink, 0u);
  EXPECT_EQ(code_of(c.mkdir(dir, "x")), ENOENT);
  EXPECT_EQ(code_of(c.create(dir, "x")), ENOENT);
  EXPECT_EQ(code_of(c.symlink(dir, "x", "t")), ENOENT);
  EXPECT_EQ(code_of(c.link(file, dir, "x")), ENOENT);
  EXPECT_EQ(code_of(c.rename(root, "f", dir, "x")), ENOENT);
  EXPECT_TRUE(must(c.readdir(dir, 0, 10)).entries.empty());
  must(c.release(dir, opened.handle));
  EXPECT_EQ(code_of(c.getattr(dir)), ESTALE);
}

TEST_P(Conformance, MknodMakesEveryType) {
  const FileAttr fifo = must(c.mknod(root, "fifo", {.mode = S_IFIFO | 0640}));
  EXPECT_EQ(fifo.mode, S_IFIFO | 0640u);
  const FileAttr socket = must(c.mknod(root, "socket", {.mode = S_IFSOCK | 0600}));
  EXPECT_EQ(socket.mode, S_IFSOCK | 0600u);
  const FileAttr file = must(c.mknod(root, "file", {.mode = S_IFREG | 0604}));
  EXPECT_EQ(file.mode, S_IFREG | 0604u);
  const FileAttr device =
      must(c.mknod(root, "null", {.mode = S_IFCHR | 0666, .rdev_major = 1, .rdev_minor = 3}));
  EXPECT_EQ(device.mode, S_IFCHR | 0666u);
  const FileAttr looked_up = must(c.lookup(root, "null"));
  EXPECT_EQ(looked_up.rdev_major, 1u);
  EXPECT_EQ(looked_up.rdev_minor, 3u);
  EXPECT_EQ(must(c.lookup(root, "fifo")).mode, S_IFIFO | 0640u);
  EXPECT_EQ(must(c.lookup(root, "socket")).mode, S_IFSOCK | 0600u);
}

TEST_P(Conformance, MknodOfADirectoryOrNonsense) {
  EXPECT_EQ(code_of(c.mknod(root, "d", {.mode = S_IFDIR | 0755})), EPERM);
  EXPECT_EQ(code_of(c.mknod(root, "l", {.mode = S_IFLNK | 0777})), EINVAL);
  EXPECT_THAT(c.names(root), IsEmpty());
}

TEST_P(Conformance, SymlinkAndReadlink) {
  const std::string longest(4095, 't');
  const FileAttr link = must(c.symlink(root, "l", "../some where/\xff"));
  EXPECT_EQ(link.mode, S_IFLNK | 0777u);
  EXPECT_EQ(link.size, 15u);
  EXPECT_EQ(must(c.readlink(link.gfid)), "../some where/\xff");
  EXPECT_EQ(must(c.readlink(must(c.symlink(root, "long", longest)).gfid)), longest);
  EXPECT_EQ(must(c.readlink(must(c.symlink(root, "absolute", "/etc/passwd")).gfid)), "/etc/passwd");
}

TEST_P(Conformance, SymlinkErrors) {
  EXPECT_EQ(code_of(c.symlink(root, "l", "")), ENOENT);
  EXPECT_EQ(code_of(c.symlink(root, "l", std::string(4096, 't'))), ENAMETOOLONG);
  EXPECT_EQ(code_of(c.readlink(c.file(root, "f"))), EINVAL);
  EXPECT_EQ(code_of(c.readlink(c.dir(root, "d"))), EINVAL);
}

TEST_P(Conformance, SymlinkToADirectoryIsNoDirectory) {
  c.dir(root, "d");
  const Gfid link = must(c.symlink(root, "l", "d")).gfid;
  EXPECT_EQ(code_of(c.lookup(link, "x")), ENOTDIR);
  EXPECT_EQ(code_of(c.mkdir(link, "x")), ENOTDIR);
  EXPECT_EQ(code_of(c.rmdir(root, "l")), ENOTDIR);
}

TEST_P(Conformance, OwnerComesFromTheContext) {
  c.context().uid = 4711;
  c.context().gid = 4712;
  for (const FileAttr& a : {must(c.mkdir(root, "d")), must(c.create(root, "f")).attr,
                            must(c.symlink(root, "l", "t")), must(c.mknod(root, "p", {.mode = S_IFIFO}))}) {
    EXPECT_EQ(a.uid, 4711u);
    EXPECT_EQ(a.gid, 4712u);
  }
}

TEST_P(Conformance, HardLinksShareTheObject) {
  const Gfid dir = c.dir(root, "d");
  const Gfid file = c.file(root, "a", "one");
  EXPECT_EQ(c.attr(file).nlink, 1u);
  EXPECT_EQ(must(c.link(file, dir, "b")).nlink, 2u);
  EXPECT_EQ(must(c.lookup(dir, "b")).gfid, file);
  c.put(file, 0, "two");
  EXPECT_EQ(c.content(must(c.lookup(root, "a")).gfid), "two");
  must(c.unlink(root, "a"));
  EXPECT_EQ(c.attr(file).nlink, 1u);
  EXPECT_EQ(c.content(file), "two");
  must(c.unlink(dir, "b"));
  EXPECT_EQ(code_of(c.getattr(file)), ESTALE);
}

TEST_P(Conformance, HardLinksOfOtherTypes) {
  EXPECT_EQ(code_of(c.link(c.dir(root, "d"), root, "x")), EPERM);
  EXPECT_EQ(must(c.link(must(c.symlink(root, "l", "t")).gfid, root, "l2")).nlink, 2u);
  EXPECT_EQ(must(c.link(must(c.mknod(root, "p", {.mode = S_IFIFO})).gfid, root, "p2")).nlink, 2u);
}

TEST_P(Conformance, LinkOfAnUnlinkedOpenFile) {
  const Opened opened = must(c.create(root, "f"));
  must(c.unlink(root, "f"));
  EXPECT_EQ(code_of(c.link(opened.attr.gfid, root, "again")), ENOENT);
  must(c.release(opened.attr.gfid, opened.handle));
  EXPECT_EQ(code_of(c.link(opened.attr.gfid, root, "again")), ESTALE);
}

TEST_P(Conformance, UnlinkErrors) {
  c.dir(root, "d");
  EXPECT_EQ(code_of(c.unlink(root, "absent")), ENOENT);
  EXPECT_EQ(code_of(c.unlink(root, "d")), EISDIR);
  EXPECT_THAT(c.names(root), ElementsAre("d"));
}

TEST_P(Conformance, RmdirErrors) {
  const Gfid dir = c.dir(root, "d");
  c.file(dir, "f");
  EXPECT_EQ(code_of(c.rmdir(root, "absent")), ENOENT);
  EXPECT_EQ(code_of(c.rmdir(dir, "f")), ENOTDIR);
  EXPECT_EQ(code_of(c.rmdir(root, "d")), ENOTEMPTY);
  must(c.unlink(dir, "f"));
  must(c.rmdir(root, "d"));
  EXPECT_EQ(code_of(c.getattr(dir)), ESTALE);
}

TEST_P(Conformance, NameCanBeUsedAgain) {
  const Gfid first = c.file(root, "x", "first");
  must(c.unlink(root, "x"));
  const Gfid second = c.dir(root, "x");
  must(c.rmdir(root, "x"));
  const Gfid third = c.file(root, "x");
  EXPECT_NE(first, second);
  EXPECT_NE(first, third);
  EXPECT_EQ(c.attr(third).size, 0u);
}

TEST_P(Conformance, DirectoriesCountOneLink) {
  const Gfid dir = c.dir(root, "d");
  c.dir(dir, "sub");
  EXPECT_EQ(c.attr(dir).nlink, 1u);
  EXPECT_EQ(c.attr(root).nlink, 1u);
}

TEST_P(Conformance, TimesOfMakingAndRemoving) {
  const Gfid dir = c.dir(root, "d");
  const FileAttr before = c.attr(dir);
  const FileAttr made = must(c.create(dir, "f")).attr;
  EXPECT_EQ(ns(made.atime), ns(made.mtime));
  EXPECT_EQ(ns(made.mtime), ns(made.ctime));
  const FileAttr after = c.attr(dir);
  EXPECT_GT(ns(after.mtime), ns(before.mtime));
  EXPECT_EQ(ns(after.mtime), ns(made.ctime)) << "one change, one stamp";
  EXPECT_EQ(ns(after.ctime), ns(made.ctime));
  const FileAttr linked = must(c.link(made.gfid, root, "g"));
  EXPECT_GT(ns(linked.ctime), ns(made.ctime));
  EXPECT_EQ(ns(linked.mtime), ns(made.mtime));
  EXPECT_EQ(ns(c.attr(root).mtime), ns(linked.ctime));
  must(c.unlink(dir, "f"));
  EXPECT_GT(ns(c.attr(dir).mtime), ns(after.mtime));
  EXPECT_EQ(ns(c.attr(made.gfid).ctime), ns(c.attr(dir).ctime));
  EXPECT_EQ(ns(c.attr(made.gfid).mtime), ns(made.mtime));
}

TEST_P(Conformance, LookingChangesNoTimes) {
  const Gfid dir = c.dir(root, "d"), file = c.file(dir, "f", "content");
  const FileAttr dir_before = c.attr(dir), file_before = c.attr(file);
  c.names(dir);
  must(c.lookup(dir, "f"));
  c.content(file);
  must(c.listxattr(file));
  EXPECT_EQ(code_of(c.mkdir(dir, "f")), EEXIST);
  EXPECT_EQ(ns(c.attr(dir).ctime), ns(dir_before.ctime));
  EXPECT_EQ(ns(c.attr(dir).mtime), ns(dir_before.mtime));
  EXPECT_EQ(ns(c.attr(file).ctime), ns(file_before.ctime));
  EXPECT_EQ(ns(c.attr(file).mtime), ns(file_before.mtime));
  EXPECT_EQ(ns(c.attr(file).atime), ns(file_before.atime)) << "reading is no change: volumes are noatime";
}

TEST_P(Conformance, EveryChangeHasAStampOfItsOwn) {
  std::set<std::int64_t> stamps;
  for (int i = 0; i < 20; ++i) stamps.insert(ns(must(c.create(root, fmt::format("f{}", i))).attr.ctime));
  EXPECT_EQ(stamps.size(), 20u);
}

TEST_P(Conformance, StatfsMakesSense) {
  const VolumeSpace space = must(c.statfs());
  EXPECT_GE(space.block_size, 512u);
  EXPECT_GT(space.blocks, 0u);
  EXPECT_LE(space.blocks_free, space.blocks);
  EXPECT_LE(space.blocks_available, space.blocks);
  EXPECT_EQ(space.name_max, 255u);
}

}  // namespace polder
