// SPDX-License-Identifier: GPL-3.0-or-later
// Conformance: listing directories.
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/posix_rules.h"

namespace polder {

namespace {

std::string numbered(int i) {
  return fmt::format("entry-{:03}", i);
}

}  // namespace

TEST_P(Conformance, ReaddirReturnsEachEntryOnce) {
  std::vector<std::string> expected;
  for (int i = 0; i < 40; ++i) {
    c.file(root, numbered(i));
    expected.push_back(numbered(i));
  }
  for (std::uint32_t page : {1u, 3u, 40u, 1000u}) EXPECT_EQ(c.names(root, page), expected) << page;
}

TEST_P(Conformance, ReaddirIsInCookieOrder) {
  for (int i = 0; i < 20; ++i) c.file(root, numbered(i));
  const DirectoryPage page = must(c.readdir(root, 0, 100));
  ASSERT_EQ(page.entries.size(), 20u);
  EXPECT_TRUE(page.end);
  std::uint64_t last = 2;
  for (const ListedEntry& entry : page.entries) {
    EXPECT_GT(entry.cookie, last);
    EXPECT_EQ(entry.cookie, entry_cookie(entry.name)) << "a function of the name, on every brick";
    last = entry.cookie;
  }
}

TEST_P(Conformance, ReaddirPagesAreBounded) {
  for (int i = 0; i < 20; ++i) c.file(root, numbered(i));
  const DirectoryPage page = must(c.readdir(root, 0, 5));
  EXPECT_EQ(page.entries.size(), 5u);
  EXPECT_FALSE(page.end);
}

TEST_P(Conformance, ReaddirRestartsAtACookie) {
  for (int i = 0; i < 20; ++i) c.file(root, numbered(i));
  const DirectoryPage all = must(c.readdir(root, 0, 100));
  const DirectoryPage rest = must(c.readdir(root, all.entries[7].cookie, 100));
  ASSERT_EQ(rest.entries.size(), 12u);
  EXPECT_EQ(rest.entries[0].name, all.entries[8].name);
  EXPECT_TRUE(must(c.readdir(root, all.entries.back().cookie, 100)).entries.empty());
  EXPECT_TRUE(must(c.readdir(root, UINT64_MAX, 100)).end);
}

TEST_P(Conformance, ReaddirWithConcurrentChanges) {
  for (int i = 0; i < 30; ++i) c.file(root, numbered(i));
  std::multiset<std::string> seen;
  std::uint64_t cookie = 0;
  for (int round = 0; round < 100; ++round) {
    const DirectoryPage page = must(c.readdir(root, cookie, 4));
    for (const ListedEntry& entry : page.entries) {
      seen.insert(entry.name);
      cookie = entry.cookie;
    }
    if (page.end) break;
    // The entry just returned goes, others come and go.
    must(c.unlink(root, page.entries.back().name));
    c.file(root, fmt::format("new-{}", round));
    if (round > 0) must(c.unlink(root, fmt::format("new-{}", round - 1)));
  }
  for (int i = 0; i < 30; ++i) EXPECT_EQ(seen.count(numbered(i)), 1u) << numbered(i);
  for (const std::string& name : seen) EXPECT_EQ(seen.count(name), 1u) << name;
}

TEST_P(Conformance, ReaddirTypesAndGfids) {
  const Gfid dir = c.dir(root, "d");
  must(c.symlink(root, "l", "t"));
  must(c.mknod(root, "p", {.mode = S_IFIFO | 0600}));
  c.file(root, "f", "12345");
  std::map<std::string, FileAttr> listed;
  for (const ListedEntry& entry : must(c.readdir(root, 0, 100)).entries) listed[entry.name] = entry.attr;
  ASSERT_EQ(listed.size(), 4u);
  EXPECT_EQ(listed["d"].gfid, dir);
  EXPECT_EQ(listed["d"].mode & S_IFMT, static_cast<unsigned>(S_IFDIR));
  EXPECT_EQ(listed["l"].mode & S_IFMT, static_cast<unsigned>(S_IFLNK));
  EXPECT_EQ(listed["p"].mode & S_IFMT, static_cast<unsigned>(S_IFIFO));
  EXPECT_EQ(listed["f"].mode & S_IFMT, static_cast<unsigned>(S_IFREG));
}

TEST_P(Conformance, ReaddirWithAttributes) {
  const Gfid file = c.file(root, "f", "12345");
  const Gfid dir = c.dir(root, "d");
  for (const ListedEntry& entry : must(c.readdir(root, 0, 100, true)).entries) {
    const FileAttr expected = c.attr(entry.name == "f" ? file : dir);
    EXPECT_EQ(entry.attr.gfid, expected.gfid);
    EXPECT_EQ(entry.attr.mode, expected.mode);
    EXPECT_EQ(entry.attr.uid, expected.uid);
    EXPECT_EQ(entry.attr.nlink, expected.nlink);
    EXPECT_EQ(ns(entry.attr.ctime), ns(expected.ctime));
    if (entry.name == "f") EXPECT_EQ(entry.attr.size, 5u);
  }
}

TEST_P(Conformance, ReaddirErrors) {
  const Gfid file = c.file(root, "f"), dir = c.dir(root, "d");
  must(c.rmdir(root, "d"));
  EXPECT_EQ(code_of(c.readdir(file, 0, 10)), ENOTDIR);
  EXPECT_EQ(code_of(c.readdir(dir, 0, 10)), ESTALE);
}

TEST_P(Conformance, ReaddirOfALargeDirectory) {
  const Gfid dir = c.dir(root, "many");
  for (int i = 0; i < 400; ++i) must(c.mknod(dir, numbered(i), {.mode = S_IFREG | 0600}));
  EXPECT_EQ(c.names(dir, 64).size(), 400u);
}

}  // namespace polder
