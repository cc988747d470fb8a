// SPDX-License-Identifier: GPL-3.0-or-later
// What the answer to a change says is so, then and after a kill, whichever calls of the disk have failed: it
// has happened; or it has not and will not; or, and then the error says so, it may have.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/falloc.h>

#include "core-volume/graph/brick_test_support.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid root = Gfid::root();

/// What the changes act on, and all that can be seen of it but times.
struct Seen {
  Client& c;
  Gfid dir = c.dir(root, "d");
  Gfid file = c.file(root, "f", "some bytes"), other = c.file(root, "o", std::string(9000, 'o'));
  HandleId handle = must(c.open(file)).handle, other_handle = must(c.open(other)).handle;

  static std::string look(Client& c) {
    std::string seen;
    for (const auto& name : c.names(root)) {
      const auto attr = must(c.lookup(root, name));
      seen += fmt::format("{} {:o} x{}", name, attr.mode, attr.nlink);
      for (const auto& key : must(c.listxattr(attr.gfid)))
        seen += " " + key + "=" + must(c.getxattr(attr.gfid, key));
      if (attr.is_regular()) seen += " " + c.content(attr.gfid);
      if (attr.is_directory())
        for (const auto& in : c.names(attr.gfid)) seen += " " + in;
      seen += "\n";
    }
    return seen;
  }
};

using Change = std::function<Result<void>(Client&, Seen&)>;

std::map<std::string, Change> changes() {
  return {
      {"create", [](auto& c, auto& s) { return outcome_of(c.create(s.dir, "new")); }},
      {"mkdir", [](auto& c, auto& s) { return outcome_of(c.mkdir(s.dir, "new")); }},
      {"link", [](auto& c, auto& s) { return outcome_of(c.link(s.file, s.dir, "new")); }},
      {"unlink", [](auto& c, auto&) { return c.unlink(root, "o"); }},
      {"rename", [](auto& c, auto& s) { return c.rename(root, "f", s.dir, "new"); }},
      {"replace", [](auto& c, auto&) { return c.rename(root, "f", root, "o"); }},
      {"small write",
       [](auto& c, auto& s) { return outcome_of(c.write(s.file, s.handle, 5, "and others")); }},
      {"large write",
       [](auto& c, auto& s) { return outcome_of(c.write(s.file, s.handle, 5, std::string(10'000, 'n'))); }},
      {"small append",
       [](auto& c, auto& s) { return outcome_of(c.write(s.file, s.handle, 0, "end", true)); }},
      {"large append",
       [](auto& c, auto& s) {
         return outcome_of(c.write(s.file, s.handle, 0, std::string(10'000, 'n'), true));
       }},
      {"small copy", [](auto& c, auto& s) { return outcome_of(c.copy_range(s.other, 0, s.file, 3, 4)); }},
      {"large copy", [](auto& c, auto& s) { return outcome_of(c.copy_range(s.other, 0, s.file, 3, 9000)); }},
      {"shorter",
       [](auto& c, auto& s) {
         return outcome_of(c.setattr(s.other, {.fields = SetAttr::kSize, .size = 10}));
       }},
      {"longer, and chmod",
       [](auto& c, auto& s) {
         return outcome_of(
             c.setattr(s.file, {.fields = SetAttr::kSize | SetAttr::kMode, .mode = 0600, .size = 20}));
       }},
      {"emptied by an open", [](auto& c, auto& s) { return outcome_of(c.open(s.other, O_RDWR | O_TRUNC)); }},
      {"hole",
       [](auto& c, auto& s) {
         return c.fallocate(s.other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 100);
       }},
      {"zeros", [](auto& c, auto& s) { return c.fallocate(s.other, FALLOC_FL_ZERO_RANGE, 8990, 100); }},
      {"chmod",
       [](auto& c, auto& s) {
         return outcome_of(c.setattr(s.file, {.fields = SetAttr::kMode, .mode = 0600}));
       }},
      {"xattr", [](auto& c, auto& s) { return c.setxattr(s.file, "user.k", "v"); }}};
}

/// The n-th call on the disk fails, or all from there on. True when it was one of the change.
bool says_what_is_so(const Change& change, const std::string& after, std::uint64_t n, bool for_good) {
  SimBrick node;
  Client c(node);
  Seen seen(c);
  Client other(node, 8);
  const auto before = Seen::look(other);
  node.disk.fail_nth(n, EIO, for_good);
  const auto changed = change(c, seen);
  const bool fired = node.disk.fault_fired();
  const auto expect = [&](std::string_view when) {
    const auto now = Seen::look(other);
    const auto said = changed ? "done" : changed.error().message();
    if (changed) EXPECT_EQ(now, after) << when;
    if (!changed && !changed.error().maybe_applied()) EXPECT_EQ(now, before) << when << ", after " << said;
  };
  if (!for_good) {
    node.disk.heal();
    expect("at once");
  }
  node.kill();
  node.start();
  expect("after a kill");
  node.loop.run_for(6s);
  expect("later");
  return fired;
}

TEST(BrickOutcome, AnErrorThatDoesNotSayMaybeHasChangedNothingAndWillNot) {
  for (const auto& [name, change] : changes()) {
    SimBrick node;
    Client c(node);
    Seen seen(c);
    must(change(c, seen));
    const auto after = Seen::look(c);
    for (const bool for_good : {false, true}) {
      bool fired = true;
      for (std::uint64_t n = 1; fired && n < 200; ++n) {
        SCOPED_TRACE(fmt::format("{}, call {}{}", name, n, for_good ? " and all after it" : ""));
        fired = says_what_is_so(change, after, n, for_good);
        if (HasFailure()) break;
      }
    }
  }
}

/// A start writes the bytes of a record again that was not marked as applied: not over what came after it.
TEST(BrickOutcome, AMarkThatFailedDoesNotLoseALaterWrite) {
  int written = 0;
  bool fired = true;
  for (std::uint64_t n = 1; fired; ++n) {
    SCOPED_TRACE(n);
    SimBrick node;
    Client c(node);
    Seen seen(c);
    node.disk.fail_nth(n, EIO);
    (void)c.write(seen.file, seen.handle, 0, "older bytes");
    fired = node.disk.fault_fired();
    node.disk.heal();
    const auto newer = c.write(seen.file, seen.handle, 0, "newer");
    node.kill();
    node.start();
    if (!newer) continue;  // the log itself had failed
    ++written;
    EXPECT_EQ(c.content(seen.file, 0, 5), "newer");
  }
  EXPECT_GT(written, 2);
}

/// False: the log itself had failed.
bool is_done_when_sent_again(const Change& change, std::uint64_t n, bool killed, bool& fired) {
  SimBrick node;
  Client c(node);
  Seen seen(c);
  node.disk.fail_nth(n, EIO);
  (void)change(c, seen);
  fired = node.disk.fault_fired();
  node.disk.heal();
  if (killed) {
    const auto sequence = c.context().sequence;
    node.kill();
    node.start();
    seen.handle = must(c.open(seen.file)).handle;
    c.context().sequence = sequence;
  }
  c.resend();
  const auto again = change(c, seen);
  const auto then = c.content(seen.file);
  const auto anew = change(c, seen);
  if (again && anew) EXPECT_EQ(then, c.content(seen.file));
  EXPECT_TRUE(again || !killed);
  node.kill();
  return again && anew;
}

/// It was not answered, perhaps the daemon was killed, and it is sent again.
TEST(BrickOutcome, AWriteThatFailedIsDoneWhenItIsSentAgain) {
  const std::map<std::string, Change> all = changes();
  for (const std::string name : {"small write", "large write", "small copy", "large copy"}) {
    for (const bool killed : {false, true}) {
      int done = 0;
      bool fired = true;
      for (std::uint64_t n = 1; fired; ++n) {
        SCOPED_TRACE(fmt::format("{}, call {}{}", name, n, killed ? ", and a kill" : ""));
        if (is_done_when_sent_again(all.at(name), n, killed, fired)) ++done;
      }
      EXPECT_GT(done, 2) << name;
    }
  }
}

/// Sent again when it had happened, and what it made has gone.
TEST(BrickOutcome, WhatHadHappenedAndIsGoneMayHaveHappened) {
  SimBrick node;
  Client c(node), other(node, 8);
  const auto file = c.file(root, "f", "bytes");
  const auto expect = [&](const std::function<Result<void>()>& change, const std::function<void()>& remove) {
    must(change());
    remove();
    c.resend();
    const auto again = change();
    EXPECT_TRUE(again || again.error().maybe_applied()) << again.error().message();
  };
  expect([&] { return outcome_of(c.mknod(root, "made", {.mode = S_IFREG | 0644})); },
         [&] { must(other.unlink(root, "made")); });
  expect([&] { return outcome_of(c.mkdir(root, "made")); }, [&] { must(other.rmdir(root, "made")); });
  expect([&] { return outcome_of(c.setattr(file, {.fields = SetAttr::kMode, .mode = 0600})); },
         [&] { must(other.unlink(root, "f")); });
}

/// A size and a mode are two records. Killed at each call of making them; sent again, each call fails.
TEST(BrickOutcome, AHalfDoneChangeThatFailsWhenItIsSentAgainMayHaveHappened) {
  const SetAttr change{.fields = SetAttr::kSize | SetAttr::kMode, .mode = 0600, .size = 2};
  int half_done = 0;
  bool killed = true;
  for (std::uint64_t n = 1; killed; ++n) {
    for (std::uint64_t failing = 1; failing < 8; ++failing) {
      SCOPED_TRACE(fmt::format("killed at call {}, then call {} fails", n, failing));
      SimBrick node;
      Client c(node), other(node, 8);
      const auto file = c.file(root, "f", "bytes");
      node.disk.freeze_at(n);
      killed = !c.setattr(file, change);
      node.kill();
      node.start();
      if (!killed) break;
      const bool truncated = must(other.getattr(file)).size == 2;
      const bool changed = (must(other.getattr(file)).mode & 07777) == 0600;
      c.resend();
      node.disk.fail_nth(failing, EIO);
      const auto again = c.setattr(file, change);
      if (truncated) EXPECT_TRUE(again || again.error().maybe_applied()) << again.error().message();
      if (truncated && !changed) ++half_done;
      node.kill();
    }
  }
  EXPECT_GT(half_done, 0);
}

}  // namespace
}  // namespace polder
