// SPDX-License-Identifier: GPL-3.0-or-later
// kill -9 at every named point of every kind of change: afterwards it has happened completely or not at all,
// and sent again by its client it has happened exactly once.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/falloc.h>
#include <sys/xattr.h>

#include <set>

#include "base/crash_point.h"
#include "core-volume/graph/brick_test_support.h"

namespace polder {
namespace {

constexpr std::string_view kPoints[] = {
    "store/after-tmpfile",     "store/after-index-link", "store/after-name-link",
    "store/after-name-unlink", "store/after-rename",     "store/after-truncate",
    "ordering/after-append",   "ordering/after-apply",   "ordering/before-reply"};

/// What the changes of this test act on; made before each of them.
struct Fixture {
  Gfid file, dir, other;
  HandleId handle = 0;
};

struct Change {
  std::string name;
  /// One operation with a sequence number; errno.
  std::function<int(Client&, Fixture&)> run;
  /// The volume, as this change sees it.
  std::string before, after;
};

std::string big(char c) {
  return std::string(10'000, c);
}

/// Everything a change of this test can alter, in one line.
std::string look(Client& c, const Fixture& f) {
  std::string text;
  for (const auto& name : c.names(Gfid::root())) {
    auto attr = must(c.lookup(Gfid::root(), name));
    text += fmt::format("{}:{:o}x{}", name, attr.mode & 0777, attr.nlink);
    if (attr.is_regular()) {
      auto content = c.content(attr.gfid);
      text += fmt::format("={}{}", content.substr(0, 1), content.size());
    }
    text += " ";
  }
  for (const auto& name : c.names(f.dir)) text += "dir/" + name + " ";
  text += must(c.getxattr(f.dir, "user.k")).empty() ? "" : "user.k ";
  return text;
}

std::vector<Change> changes() {
  const Gfid root = Gfid::root();
  const std::string none = "dir:755x1 empty:755x1 file:644x1=o4 other:644x1=O5 ";
  auto with = [&](std::string_view from, std::string_view to) {
    auto text = none;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  return {
      {"create", [=](auto& c, auto&) { return code_of(c.create(root, "a")); }, none, "a:644x1=0 " + none},
      {"mkdir", [=](auto& c, auto&) { return code_of(c.mkdir(root, "a")); }, none, "a:755x1 " + none},
      {"symlink", [=](auto& c, auto&) { return code_of(c.symlink(root, "a", "t")); }, none,
       "a:777x1 " + none},
      {"mknod", [=](auto& c, auto&) { return code_of(c.mknod(root, "a", {.mode = S_IFIFO | 0600})); }, none,
       "a:600x1 " + none},
      {"link", [=](auto& c, auto& f) { return code_of(c.link(f.file, f.dir, "l")); }, none,
       with("file:644x1", "file:644x2") + "dir/l "},
      {"unlink", [=](auto& c, auto&) { return code_of(c.unlink(root, "other")); }, none,
       with("other:644x1=O5 ", "")},
      {"rmdir", [=](auto& c, auto&) { return code_of(c.rmdir(root, "empty")); }, none,
       with("empty:755x1 ", "")},
      {"rename", [=](auto& c, auto& f) { return code_of(c.rename(root, "empty", f.dir, "e")); }, none,
       with("empty:755x1 ", "") + "dir/e "},
      {"replace", [=](auto& c, auto&) { return code_of(c.rename(root, "other", root, "file")); }, none,
       with("file:644x1=o4 other:644x1=O5", "file:644x1=O5")},
      {"exchange",
       [=](auto& c, auto&) { return code_of(c.rename(root, "other", root, "file", RENAME_EXCHANGE)); }, none,
       with("file:644x1=o4 other:644x1=O5", "file:644x1=O5 other:644x1=o4")},
      {"chmod",
       [=](auto& c, auto& f) { return code_of(c.setattr(f.file, {.fields = SetAttr::kMode, .mode = 0600})); },
       none, with("file:644", "file:600")},
      {"truncate_and_chmod",
       [=](auto& c, auto& f) {
         return code_of(
             c.setattr(f.file, {.fields = SetAttr::kMode | SetAttr::kSize, .mode = 0600, .size = 2}));
       },
       none, with("file:644x1=o4", "file:600x1=o2")},
      {"setxattr", [=](auto& c, auto& f) { return code_of(c.setxattr(f.dir, "user.k", "v")); }, none,
       none + "user.k "},
      {"small_append", [=](auto& c, auto& f) { return code_of(c.write(f.file, f.handle, 0, "n", true)); },
       none, with("=o4", "=o5")},
      {"large_append",
       [=](auto& c, auto& f) { return code_of(c.write(f.file, f.handle, 0, big('n'), true)); }, none,
       with("=o4", "=o10004")},
      {"large_write", [=](auto& c, auto& f) { return code_of(c.write(f.file, f.handle, 0, big('n'))); }, none,
       with("=o4", "=n10000")},
      {"copy", [=](auto& c, auto& f) { return code_of(c.copy_range(f.other, 0, f.file, 0, 5)); }, none,
       with("=o4", "=O5")},
      {"zero", [=](auto& c, auto& f) { return code_of(c.fallocate(f.file, FALLOC_FL_ZERO_RANGE, 2, 6)); },
       none, with("=o4", "=o8")},
      {"allocate", [=](auto& c, auto& f) { return code_of(c.fallocate(f.file, 0, 0, 100)); }, none,
       with("=o4", "=o100")},
  };
}

SimDisk* g_disk = nullptr;
bool g_hit = false;

class BrickCrashTest : public testing::TestWithParam<std::string_view> {
 protected:
  Fixture prepare(Client& c) {
    const Gfid root = Gfid::root();
    Fixture f;
    f.file = c.file(root, "file", "old1");
    f.other = c.file(root, "other", "Other");
    f.dir = c.dir(root, "dir");
    c.dir(root, "empty");
    must(c.setxattr(f.dir, "user.k", ""));
    f.handle = must(c.open(f.file)).handle;
    return f;
  }
};

TEST_P(BrickCrashTest, ChangeHappensOnceOrNotAtAll) {
  int fired = 0;
  for (const auto& change : changes()) {
    SCOPED_TRACE(fmt::format("{} killed at {}", change.name, GetParam()));
    SimBrick node;
    Client c(node);
    auto fixture = prepare(c);
    ASSERT_EQ(look(c, fixture), change.before);

    g_disk = &node.disk;
    g_hit = false;
    arm_crash_point(GetParam(), 1, [] {
      g_hit = true;
      g_disk->freeze();
    });
    (void)change.run(c, fixture);
    arm_crash_point("", 0, nullptr);
    if (!g_hit) continue;
    ++fired;
    node.kill();
    node.start();

    Client observer(node, 99);
    auto seen = look(observer, fixture);
    bool half_setattr = change.name == "truncate_and_chmod";  // two records: either may be the last
    if (!half_setattr) EXPECT_THAT(seen, testing::AnyOf(change.before, change.after));

    auto sequence = c.context().sequence;
    fixture.handle = must(c.open(fixture.file)).handle;  // as a client does before it sends again
    c.context().sequence = sequence;
    c.resend();
    EXPECT_EQ(change.run(c, fixture), 0);
    EXPECT_EQ(look(observer, fixture), change.after);
    node.stop();
    node.start();
    EXPECT_EQ(look(observer, fixture), change.after);
    if (HasFailure()) return;
  }
  EXPECT_GT(fired, 0);
}

INSTANTIATE_TEST_SUITE_P(Points, BrickCrashTest, testing::ValuesIn(kPoints), [](const auto& test) {
  std::string name(test.param);
  std::ranges::replace_if(name, [](char c) { return c == '/' || c == '-'; }, '_');
  return name;
});

}  // namespace
}  // namespace polder
