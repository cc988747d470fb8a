// SPDX-License-Identifier: GPL-3.0-or-later
// Conformance: attributes, umask, ACLs, setgid, extended attributes.
#include <sys/xattr.h>

#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/posix_acl.h"

namespace polder {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

namespace {

constexpr std::string_view kAccess = kAclAccess, kDefault = kAclDefault;

/// user::U, user:4711:N, group::G, mask::M, other::O
Acl acl_with_named_user(std::uint16_t u, std::uint16_t n, std::uint16_t g, std::uint16_t m, std::uint16_t o) {
  return {{{AclTag::kUserObj, u},
           {AclTag::kUser, n, 4711},
           {AclTag::kGroupObj, g},
           {AclTag::kMask, m},
           {AclTag::kOther, o}}};
}

Acl minimal_acl(std::uint16_t u, std::uint16_t g, std::uint16_t o) {
  return {{{AclTag::kUserObj, u}, {AclTag::kGroupObj, g}, {AclTag::kOther, o}}};
}

}  // namespace

TEST_P(Conformance, ChmodChownChangeCtimeOnly) {
  const Gfid file = c.file(root, "f", "x");
  const FileAttr before = c.attr(file);
  const FileAttr after = must(c.setattr(
      file, {.fields = SetAttr::kMode | SetAttr::kUid | SetAttr::kGid, .mode = 07741, .uid = 12, .gid = 34}));
  EXPECT_EQ(after.mode, S_IFREG | 07741u);
  EXPECT_EQ(after.uid, 12u);
  EXPECT_EQ(after.gid, 34u);
  EXPECT_GT(ns(after.ctime), ns(before.ctime));
  EXPECT_EQ(ns(after.mtime), ns(before.mtime));
  EXPECT_EQ(ns(after.atime), ns(before.atime));
  EXPECT_EQ(c.attr(file).mode, S_IFREG | 07741u);
}

TEST_P(Conformance, ChmodOfEveryBit) {
  const Gfid dir = c.dir(root, "d");
  for (std::uint32_t mode : {0u, 07777u, 01777u, 02755u, 0400u}) {
    c.chmod(dir, mode);
    EXPECT_EQ(c.attr(dir).mode, S_IFDIR | mode);
  }
}

TEST_P(Conformance, OnlyNamedFieldsChange) {
  const Gfid file = c.file(root, "f");
  must(c.setattr(file, {.fields = SetAttr::kUid, .mode = 0777, .uid = 5, .gid = 6, .size = 7}));
  const FileAttr after = c.attr(file);
  EXPECT_EQ(after.uid, 5u);
  EXPECT_EQ(after.gid, 1000u);
  EXPECT_EQ(after.mode, S_IFREG | 0644u);
  EXPECT_EQ(after.size, 0u);
}

TEST_P(Conformance, UtimesExact) {
  const Gfid file = c.file(root, "f");
  const FileAttr before = c.attr(file);
  must(c.setattr(file, {.fields = SetAttr::kAtime | SetAttr::kMtime,
                        .atime = {1'000'000'001, 999'999'999},
                        .mtime = {86'400, 1}}));
  const FileAttr after = c.attr(file);
  EXPECT_EQ(after.atime.tv_sec, 1'000'000'001);
  EXPECT_EQ(after.atime.tv_nsec, 999'999'999);
  EXPECT_EQ(after.mtime.tv_sec, 86'400);
  EXPECT_EQ(after.mtime.tv_nsec, 1);
  EXPECT_GT(ns(after.ctime), ns(before.ctime));
}

TEST_P(Conformance, UtimesNow) {
  const Gfid file = c.file(root, "f");
  must(c.setattr(file, {.fields = SetAttr::kAtime | SetAttr::kMtime, .atime = {1, 0}, .mtime = {2, 0}}));
  const FileAttr after = must(c.setattr(file, {.fields = SetAttr::kMtimeNow}));
  EXPECT_EQ(ns(after.mtime), ns(after.ctime));
  EXPECT_EQ(ns(after.atime), 1'000'000'000);
  const FileAttr both = must(c.setattr(file, {.fields = SetAttr::kAtimeNow}));
  EXPECT_EQ(ns(both.atime), ns(both.ctime));
  EXPECT_EQ(ns(both.mtime), ns(after.mtime));
}

TEST_P(Conformance, SetattrErrors) {
  const Gfid file = c.file(root, "f"), dir = c.dir(root, "d");
  const Gfid link = must(c.symlink(root, "l", "t")).gfid;
  const Gfid fifo = must(c.mknod(root, "p", {.mode = S_IFIFO})).gfid;
  EXPECT_EQ(code_of(c.setattr(dir, {.fields = SetAttr::kSize})), EISDIR);
  EXPECT_EQ(code_of(c.setattr(link, {.fields = SetAttr::kSize})), EINVAL);
  EXPECT_EQ(code_of(c.setattr(fifo, {.fields = SetAttr::kSize})), EINVAL);
  EXPECT_EQ(code_of(c.setattr(link, {.fields = SetAttr::kMode, .mode = 0600})), EOPNOTSUPP);
  EXPECT_EQ(code_of(c.setattr(file, {.fields = SetAttr::kMtime, .mtime = {0, 1'000'000'000}})), EINVAL);
  EXPECT_EQ(code_of(c.setattr(file, {.fields = SetAttr::kSize, .size = 1ull << 63})), EFBIG);
}

TEST_P(Conformance, OwnerAndTimesOfASymlink) {
  const Gfid link = must(c.symlink(root, "l", "t")).gfid;
  must(c.setattr(link, {.fields = SetAttr::kUid | SetAttr::kMtime, .uid = 9, .mtime = {77, 7}}));
  EXPECT_EQ(c.attr(link).uid, 9u);
  EXPECT_EQ(c.attr(link).mtime.tv_sec, 77);
  EXPECT_EQ(must(c.readlink(link)), "t");
}

TEST_P(Conformance, UmaskApplies) {
  EXPECT_EQ(must(c.mkdir(root, "d", {.mode = 0777, .umask = 027})).mode, S_IFDIR | 0750u);
  EXPECT_EQ(must(c.create(root, "f", {.mode = 0666, .umask = 077})).attr.mode, S_IFREG | 0600u);
  EXPECT_EQ(must(c.mknod(root, "p", {.mode = S_IFIFO | 0666, .umask = 022})).mode, S_IFIFO | 0644u);
  EXPECT_EQ(must(c.mkdir(root, "t", {.mode = 01777, .umask = 0})).mode, S_IFDIR | 01777u);
}

TEST_P(Conformance, SetgidDirectoryHandsOnItsGroup) {
  const Gfid dir = c.dir(root, "d");
  must(c.setattr(dir, {.fields = SetAttr::kMode | SetAttr::kGid, .mode = 02775, .gid = 555}));
  const FileAttr sub = must(c.mkdir(dir, "sub", {.mode = 0755}));
  EXPECT_EQ(sub.gid, 555u);
  EXPECT_EQ(sub.mode, S_IFDIR | 02755u);
  const FileAttr file = must(c.create(dir, "f", {.mode = 0644})).attr;
  EXPECT_EQ(file.gid, 555u);
  EXPECT_EQ(file.mode, S_IFREG | 0644u);
  EXPECT_EQ(must(c.symlink(dir, "l", "t")).gid, 555u);
  EXPECT_EQ(file.uid, 1000u);
}

TEST_P(Conformance, AclSetsTheMode) {
  const Gfid file = c.file(root, "f");
  const Acl acl = acl_with_named_user(7, 6, 4, 5, 1);
  must(c.setxattr(file, kAccess, build_acl(acl)));
  EXPECT_EQ(c.attr(file).mode, S_IFREG | 0751u) << "group bits show the mask";
  EXPECT_EQ(must(c.getxattr(file, kAccess)), build_acl(acl));
  EXPECT_THAT(must(c.listxattr(file)), UnorderedElementsAre(kAccess));
}

TEST_P(Conformance, AclThatSaysNoMoreThanTheModeIsNotKept) {
  const Gfid file = c.file(root, "f");
  must(c.setxattr(file, kAccess, build_acl(acl_with_named_user(7, 7, 7, 7, 7))));
  must(c.setxattr(file, kAccess, build_acl(minimal_acl(6, 4, 0))));
  EXPECT_EQ(c.attr(file).mode, S_IFREG | 0640u);
  EXPECT_EQ(code_of(c.getxattr(file, kAccess)), ENODATA);
  EXPECT_THAT(must(c.listxattr(file)), IsEmpty());
}

TEST_P(Conformance, ChmodChangesTheMaskOfAnAcl) {
  const Gfid file = c.file(root, "f");
  must(c.setxattr(file, kAccess, build_acl(acl_with_named_user(7, 6, 4, 7, 5))));
  c.chmod(file, 0640);
  EXPECT_EQ(must(c.getxattr(file, kAccess)), build_acl(acl_with_named_user(6, 6, 4, 4, 0)));
  EXPECT_EQ(c.attr(file).mode, S_IFREG | 0640u);
}

TEST_P(Conformance, AclRemoval) {
  const Gfid file = c.file(root, "f");
  must(c.removexattr(file, kAccess));
  must(c.setxattr(file, kAccess, build_acl(acl_with_named_user(7, 6, 4, 6, 0))));
  must(c.removexattr(file, kAccess));
  EXPECT_EQ(code_of(c.getxattr(file, kAccess)), ENODATA);
  EXPECT_EQ(c.attr(file).mode, S_IFREG | 0760u);
  must(c.setxattr(file, kAccess, build_acl(acl_with_named_user(7, 6, 4, 6, 0))));
  must(c.setxattr(file, kAccess, ""));
  EXPECT_EQ(code_of(c.getxattr(file, kAccess)), ENODATA);
}

TEST_P(Conformance, DefaultAclIsInherited) {
  const Gfid dir = c.dir(root, "d");
  const std::string value = build_acl(acl_with_named_user(7, 6, 5, 7, 0));
  must(c.setxattr(dir, kDefault, value));
  EXPECT_EQ(c.attr(dir).mode, S_IFDIR | 0755u) << "a default ACL does not touch the directory's own mode";

  const FileAttr file = must(c.create(dir, "f", {.mode = 0666, .umask = 077})).attr;
  EXPECT_EQ(file.mode, S_IFREG | 0660u) << "the umask plays no part";
  EXPECT_EQ(must(c.getxattr(file.gfid, kAccess)), build_acl(acl_with_named_user(6, 6, 5, 6, 0)));
  EXPECT_EQ(code_of(c.getxattr(file.gfid, kDefault)), ENODATA);

  const FileAttr sub = must(c.mkdir(dir, "sub", {.mode = 0777, .umask = 077}));
  EXPECT_EQ(sub.mode, S_IFDIR | 0770u);
  EXPECT_EQ(must(c.getxattr(sub.gfid, kDefault)), value);
  EXPECT_EQ(must(c.getxattr(sub.gfid, kAccess)), build_acl(acl_with_named_user(7, 6, 5, 7, 0)));

  const FileAttr fifo = must(c.mknod(dir, "p", {.mode = S_IFIFO | 0600}));
  EXPECT_EQ(fifo.mode, S_IFIFO | 0600u);
  const FileAttr link = must(c.symlink(dir, "l", "t"));
  EXPECT_EQ(link.mode, S_IFLNK | 0777u);
  EXPECT_EQ(code_of(c.getxattr(link.gfid, kAccess)), ENODATA);
}

TEST_P(Conformance, PlainIsSaidOnlyOfWhatHasNoXattrs) {
  const Gfid dir = c.dir(root, "d"), file = c.file(dir, "f");
  const Gfid link = must(c.symlink(dir, "l", "t")).gfid;
  for (const Gfid& gfid : {dir, file, link}) EXPECT_TRUE(c.attr(gfid).plain) << "or each ls -l asks";
  for (const auto& entry : must(c.readdir(dir, 0, 10, true)).entries) EXPECT_TRUE(entry.attr.plain);
  must(c.setxattr(file, "user.k", ""));
  EXPECT_FALSE(c.attr(file).plain);
  EXPECT_FALSE(must(c.lookup(dir, "f")).plain);
  must(c.setattr(file, {.fields = SetAttr::kMode, .mode = 0600}));
  EXPECT_FALSE(c.attr(file).plain);
  must(c.setxattr(dir, kDefault, build_acl(acl_with_named_user(7, 6, 5, 7, 0))));
  EXPECT_FALSE(c.attr(dir).plain);
  EXPECT_FALSE(must(c.create(dir, "inherits", {.mode = 0666})).attr.plain);
  EXPECT_FALSE(must(c.mkdir(dir, "too", {.mode = 0777})).plain);
}

TEST_P(Conformance, MinimalDefaultAclActsAsAUmask) {
  const Gfid dir = c.dir(root, "d");
  must(c.setxattr(dir, kDefault, build_acl(minimal_acl(7, 5, 0))));
  const FileAttr file = must(c.create(dir, "f", {.mode = 0666, .umask = 077})).attr;
  EXPECT_EQ(file.mode, S_IFREG | 0640u);
  EXPECT_EQ(code_of(c.getxattr(file.gfid, kAccess)), ENODATA);
}

TEST_P(Conformance, DefaultAclOnlyOnDirectories) {
  const Gfid file = c.file(root, "f"), link = must(c.symlink(root, "l", "t")).gfid;
  EXPECT_EQ(code_of(c.setxattr(file, kDefault, build_acl(minimal_acl(7, 5, 0)))), EACCES);
  EXPECT_EQ(code_of(c.setxattr(link, kAccess, build_acl(minimal_acl(7, 5, 0)))), EOPNOTSUPP);
}

TEST_P(Conformance, MalformedAclsAreRefused) {
  const Gfid file = c.file(root, "f");
  const std::string good = build_acl(acl_with_named_user(7, 6, 4, 6, 0));
  const std::string without_mask = build_acl(
      {{{AclTag::kUserObj, 7}, {AclTag::kUser, 6, 1}, {AclTag::kGroupObj, 4}, {AclTag::kOther, 0}}});
  const std::string out_of_order =
      build_acl({{{AclTag::kOther, 7}, {AclTag::kGroupObj, 6}, {AclTag::kUserObj, 4}}});
  const std::string too_strong = build_acl(minimal_acl(15, 0, 0));
  std::string other_version = good;
  other_version[0] = 3;
  for (std::string_view bad : {std::string_view(good).substr(0, 3), std::string_view(good).substr(0, 13),
                               std::string_view(good).substr(0, 12), std::string_view(without_mask),
                               std::string_view(out_of_order), std::string_view(too_strong)})
    EXPECT_EQ(code_of(c.setxattr(file, kAccess, bad)), EINVAL) << bad.size();
  EXPECT_EQ(code_of(c.setxattr(file, kAccess, other_version)), EOPNOTSUPP);
  EXPECT_EQ(c.attr(file).mode, S_IFREG | 0644u);
}

TEST_P(Conformance, XattrSetGetListRemove) {
  const Gfid file = c.file(root, "f"), dir = c.dir(root, "d");
  for (Gfid gfid : {file, dir}) {
    const FileAttr before = c.attr(gfid);
    must(c.setxattr(gfid, "user.one", "1"));
    const FileAttr after = c.attr(gfid);
    EXPECT_GT(ns(after.ctime), ns(before.ctime));
    EXPECT_EQ(ns(after.mtime), ns(before.mtime));
    must(c.setxattr(gfid, "user.binary", std::string_view("\0\xff\0", 3)));
    must(c.setxattr(gfid, "user.empty", ""));
    EXPECT_EQ(must(c.getxattr(gfid, "user.one")), "1");
    EXPECT_EQ(must(c.getxattr(gfid, "user.binary")), std::string("\0\xff\0", 3));
    EXPECT_EQ(must(c.getxattr(gfid, "user.empty")), "");
    EXPECT_THAT(must(c.listxattr(gfid)), UnorderedElementsAre("user.one", "user.binary", "user.empty"));
    must(c.removexattr(gfid, "user.one"));
    EXPECT_EQ(code_of(c.getxattr(gfid, "user.one")), ENODATA);
    EXPECT_EQ(code_of(c.removexattr(gfid, "user.one")), ENODATA);
  }
}

TEST_P(Conformance, XattrFlags) {
  const Gfid file = c.file(root, "f");
  EXPECT_EQ(code_of(c.setxattr(file, "user.x", "1", XATTR_REPLACE)), ENODATA);
  must(c.setxattr(file, "user.x", "1", XATTR_CREATE));
  EXPECT_EQ(code_of(c.setxattr(file, "user.x", "2", XATTR_CREATE)), EEXIST);
  must(c.setxattr(file, "user.x", "3", XATTR_REPLACE));
  EXPECT_EQ(must(c.getxattr(file, "user.x")), "3");
  EXPECT_EQ(code_of(c.setxattr(file, "user.x", "4", 8)), EINVAL);
}

TEST_P(Conformance, XattrSizes) {
  const Gfid file = c.file(root, "f");
  const std::string longest_key = "user." + std::string(250, 'k'), large(2048, 'v');
  must(c.setxattr(file, longest_key, large));
  EXPECT_EQ(must(c.getxattr(file, longest_key)), large);
  EXPECT_EQ(code_of(c.setxattr(file, longest_key + "k", "x")), ERANGE);
  EXPECT_EQ(code_of(c.setxattr(file, "user.large", std::string(65537, 'v'))), E2BIG);
}

TEST_P(Conformance, XattrNameSpaces) {
  const Gfid file = c.file(root, "f"), link = must(c.symlink(root, "l", "t")).gfid;
  EXPECT_EQ(code_of(c.setxattr(file, "nonsense", "1")), EOPNOTSUPP);
  EXPECT_EQ(code_of(c.setxattr(file, "system.other", "1")), EOPNOTSUPP);
  EXPECT_EQ(code_of(c.setxattr(file, "user.", "1")), EINVAL);
  EXPECT_EQ(code_of(c.setxattr(link, "user.x", "1")), EPERM);
}

TEST_P(Conformance, PrivateXattrsDoNotExist) {
  const Gfid file = c.file(root, "f");
  EXPECT_EQ(code_of(c.setxattr(file, "trusted.polder.gfid", "1")), EPERM);
  EXPECT_EQ(code_of(c.removexattr(file, "trusted.polder.gfid")), EPERM);
  EXPECT_EQ(code_of(c.getxattr(file, "trusted.polder.gfid")), ENODATA);
  EXPECT_THAT(must(c.listxattr(file)), IsEmpty());
}

TEST_P(Conformance, XattrsInWhichXfsShowsAclsAreNotThere) {
  const Gfid file = c.file(root, "f");
  must(c.setxattr(file, "trusted.SGI_ACL_FILE", "from a copy of an XFS tree"));
  EXPECT_EQ(code_of(c.getxattr(file, "trusted.SGI_ACL_FILE")), ENODATA);
  EXPECT_EQ(code_of(c.removexattr(file, "trusted.SGI_ACL_FILE")), ENODATA);
  EXPECT_THAT(must(c.listxattr(file)), IsEmpty());
}

TEST_P(Conformance, AttributesOfWhatIsGone) {
  const Gfid file = c.file(root, "f");
  must(c.unlink(root, "f"));
  EXPECT_EQ(code_of(c.setattr(file, {.fields = SetAttr::kMode, .mode = 0600})), ESTALE);
  EXPECT_EQ(code_of(c.getxattr(file, "user.x")), ESTALE);
  EXPECT_EQ(code_of(c.setxattr(file, "user.x", "1")), ESTALE);
  EXPECT_EQ(code_of(c.removexattr(file, "user.x")), ESTALE);
  EXPECT_EQ(code_of(c.listxattr(file)), ESTALE);
  EXPECT_EQ(code_of(c.readlink(file)), ESTALE);
}

}  // namespace polder
