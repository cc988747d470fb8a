// SPDX-License-Identifier: GPL-3.0-or-later
// What a redo after a power loss must not destroy. Each file of the simulated disk keeps what it likes of
// what was not synced, so each case is tried with many losses.
#include <gmock/gmock.h>

#include "core-volume/graph/brick_test_support.h"

namespace polder {
namespace {

const Gfid kRoot = Gfid::root();

template <typename Case>
void with_many_losses(Case run) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    SimBrick node;
    Client c(node);
    auto check = run(c);
    node.lose_power(seed);
    node.start();
    check();
    if (testing::Test::HasFailure()) return;
  }
}

TEST(BrickPowerLoss, SyncedBytesStayBesideALaterWriteThatIsNotInTheLog) {
  with_many_losses([](Client& c) {
    auto file = c.file(kRoot, "file");
    c.put(file, 0, std::string(2000, 'a'));
    c.put(file, 1000, std::string(2000, 'b'));
    must(c.fsync(file));
    c.put(file, 2500, std::string(10'000, 'c'));  // covers a part of the second one
    return [&c, file] {
      const auto content = c.content(file);
      EXPECT_EQ(content.substr(0, 2500), std::string(1000, 'a') + std::string(1500, 'b'));
      EXPECT_THAT(content.substr(2500), testing::Each(testing::AnyOf('b', 'c', '\0')));
    };
  });
}

TEST(BrickPowerLoss, AnOldRecordDoesNotLoseTheFileThatHasItsNameNow) {
  with_many_losses([](Client& c) {
    auto first = c.file(kRoot, "name", "first");
    must(c.rename(kRoot, "name", kRoot, "moved"));
    auto second = c.file(kRoot, "other", "second");
    must(c.fsync(second));
    must(c.rename(kRoot, "other", kRoot, "name"));  // perhaps on the disk, and not in the log
    return [&c, first, second] {
      std::map<Gfid, int> names;
      for (const auto& name : c.names(kRoot)) ++names[must(c.lookup(kRoot, name)).gfid];
      EXPECT_EQ(names[first], 1);
      EXPECT_GE(names[second], 1);
      EXPECT_EQ(c.content(second), "second");
    };
  });
}

/// Made again by recovery it would lack the large write: so it is still there, or its removal is in the log.
TEST(BrickPowerLoss, ASyncedFileThatWasRemovedIsWholeOrGone) {
  const std::string bytes(10'000, 'x');
  with_many_losses([&](Client& c) {
    auto file = c.file(kRoot, "name");
    c.put(file, 0, bytes);
    must(c.fsync(file));
    must(c.unlink(kRoot, "name"));  // perhaps on the disk, and not in the log
    return [&c, &bytes] {
      auto there = c.lookup(kRoot, "name");
      if (there) EXPECT_EQ(c.content(there->gfid), bytes);
    };
  });
}

/// The same after a start that knows of the large write only what the log says.
TEST(BrickPowerLoss, ASyncedFileThatWasRemovedAfterARestartIsWholeOrGone) {
  const std::string bytes(10'000, 'x');
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    SimBrick node;
    Client before(node);
    auto file = before.file(kRoot, "name");
    before.put(file, 0, bytes);
    must(before.fsync(file));
    node.kill();
    node.start();
    Client c(node);
    must(c.unlink(kRoot, "name"));
    node.lose_power(seed);
    node.start();
    auto there = c.lookup(kRoot, "name");
    if (there) ASSERT_EQ(c.content(there->gfid), bytes);
  }
}

TEST(BrickPowerLoss, ASyncedFileThatWasReplacedIsWhole) {
  const std::string bytes(10'000, 'x');
  with_many_losses([&](Client& c) {
    auto file = c.file(kRoot, "name");
    c.put(file, 0, bytes);
    must(c.fsync(file));
    auto other = c.file(kRoot, "other", "small");
    must(c.fsync(other));
    must(c.rename(kRoot, "other", kRoot, "name"));
    return [&c, &bytes, file] {
      auto there = c.lookup(kRoot, "name");
      ASSERT_TRUE(there);
      EXPECT_EQ(c.content(there->gfid), there->gfid == file ? bytes : "small");
    };
  });
}

TEST(BrickPowerLoss, AnOldRemovalDoesNotLoseTheFileThatHasItsNameAgain) {
  with_many_losses([](Client& c) {
    auto file = c.file(kRoot, "one", "text");
    must(c.link(file, kRoot, "two"));
    must(c.unlink(kRoot, "two"));
    must(c.fsync(file));
    must(c.rename(kRoot, "one", kRoot, "two"));
    return [&c, file] {
      EXPECT_THAT(c.names(kRoot), testing::Not(testing::IsEmpty()));
      EXPECT_EQ(c.content(file), "text");
    };
  });
}

/// Replacing a file by renaming another one over it never leaves the name without either.
TEST(BrickPowerLoss, AnOldRecordDoesNotTakeTheNameThatWasReplaced) {
  with_many_losses([](Client& c) {
    auto newer = c.file(kRoot, "name", "newer");
    must(c.rename(kRoot, "name", kRoot, "other"));
    auto older = c.file(kRoot, "name", "older");
    must(c.fsync(older));
    must(c.rename(kRoot, "other", kRoot, "name"));  // perhaps on the disk, and not in the log
    return [&c, newer, older] {
      auto there = c.lookup(kRoot, "name");
      ASSERT_TRUE(there) << "nothing is there";
      EXPECT_THAT(there->gfid, testing::AnyOf(newer, older));
      EXPECT_EQ(c.content(there->gfid), there->gfid == newer ? "newer" : "older");
      EXPECT_EQ(c.content(newer), "newer");
    };
  });
}

/// The same when what was replaced stays, because the log lacks bytes of it.
TEST(BrickPowerLoss, AnOldRecordDoesNotTakeTheNameOfALargeFileThatWasReplaced) {
  const std::string bytes(10'000, 'x');
  with_many_losses([&](Client& c) {
    auto newer = c.file(kRoot, "name", "newer");
    must(c.rename(kRoot, "name", kRoot, "other"));
    auto older = c.file(kRoot, "name");
    c.put(older, 0, bytes);
    must(c.fsync(older));
    must(c.rename(kRoot, "other", kRoot, "name"));
    return [&c, &bytes, newer, older] {
      auto there = c.lookup(kRoot, "name");
      ASSERT_TRUE(there) << "nothing is there";
      EXPECT_THAT(there->gfid, testing::AnyOf(newer, older));
      EXPECT_EQ(c.content(there->gfid), there->gfid == newer ? "newer" : bytes);
      EXPECT_EQ(c.content(newer), "newer");
    };
  });
}

TEST(BrickPowerLoss, AnOldRecordDoesNotTakeTheNameOfADirectoryThatWasReplaced) {
  with_many_losses([](Client& c) {
    auto newer = c.dir(kRoot, "name");
    must(c.rename(kRoot, "name", kRoot, "other"));
    auto older = c.dir(kRoot, "name");
    must(c.fsync(older));
    must(c.rename(kRoot, "other", kRoot, "name"));
    return [&c, newer, older] {
      auto there = c.lookup(kRoot, "name");
      ASSERT_TRUE(there) << "nothing is there";
      EXPECT_THAT(there->gfid, testing::AnyOf(newer, older));
      EXPECT_THAT(c.names(kRoot), testing::SizeIs(there->gfid == newer ? 1 : 2));
    };
  });
}

/// What a follower makes of its copy of a file: it reads bytes that did not travel in the log when it comes
/// to their record.
void follow(SimBrick& node, Client& c, std::uint64_t from, const Gfid& file, std::string& copy) {
  must(node.brick->journal().sync());
  auto reader = must(node.brick->journal().read_from(from));
  while (auto record = must(reader->next())) {
    if (record->gfid != file) continue;
    if (record->kind == RecordKind::kTruncate) copy.resize(record->length);
    if (record->kind == RecordKind::kPunch)
      copy.replace(record->offset, record->length, record->length, '\0');
    if (record->kind != RecordKind::kWrite) continue;
    std::string bytes(record->data.text());
    if (bytes.empty()) bytes = c.content(file, record->offset, static_cast<std::uint32_t>(record->length));
    copy.resize(std::max(copy.size(), record->offset + bytes.size()));
    copy.replace(record->offset, bytes.size(), bytes);
  }
}

/// It may have read them before the power went.
TEST(BrickPowerLoss, BytesThatMayBeLostHaveChanged) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    SimBrick node;
    Client c(node);
    auto file = c.file(kRoot, "file");
    c.put(file, 0, std::string(20'000, 'a'));
    must(c.sync());
    c.put(file, 10'000, std::string(9'000, 'b'));
    c.put(file, 25'000, std::string(9'000, 'c'));
    must(c.setattr(file, {.fields = SetAttr::kMtime, .mtime = {1000, 0}}));
    auto copy = std::string();
    follow(node, c, 1, file, copy);
    ASSERT_EQ(copy, c.content(file));
    const auto next = node.brick->journal().stable_index() + 1;
    const auto before = c.attr(file);
    node.lose_power(seed);
    node.start();
    follow(node, c, next, file, copy);
    ASSERT_EQ(copy, c.content(file));
    EXPECT_EQ(c.attr(file).mtime.tv_sec, before.mtime.tv_sec);
    EXPECT_EQ(c.attr(file).ctime.tv_nsec, before.ctime.tv_nsec);
  }
}

/// Closed in order it was synced then: a start need not do it again.
TEST(BrickPowerLoss, AStartSyncsTheFileSystemUnlessTheBrickWasClosed) {
  SimBrick node;
  Client c(node);
  int syncs = 0;
  node.disk.on_syncfs([&] { ++syncs; });
  auto start = [&] {
    const int before = syncs;
    node.start();
    return syncs - before;
  };
  c.file(kRoot, "file", "text");
  node.stop();
  EXPECT_EQ(start(), 0);
  node.kill();
  EXPECT_EQ(start(), 1);
  node.stop();
  node.disk.crash(1);
  EXPECT_EQ(start(), 0) << "the power went while it was closed";
  EXPECT_EQ(c.content(must(c.lookup(kRoot, "file")).gfid), "text");
  node.disk.on_syncfs({});
}

/// The mark of a closed brick does not come back after it was used.
TEST(BrickPowerLoss, ABrickThatWasUsedAgainIsNotTakenForClosed) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    SimBrick node(seed);
    node.stop();
    node.start();
    node.lose_power(seed);
    node.start();
    EXPECT_FALSE(node.brick->store().was_clean());
    EXPECT_TRUE(node.brick->store().is_suspect());
  }
}

}  // namespace
}  // namespace polder
