// SPDX-License-Identifier: GPL-3.0-or-later
#include <fcntl.h>
#include <gmock/gmock.h>

#include "core-volume/graph/brick_test_support.h"

namespace polder {
namespace {

const Gfid root = Gfid::root();

TEST(BrickTest, EverythingIsThereAfterARestart) {
  SimBrick node;
  Client c(node);
  auto dir = c.dir(root, "d");
  c.file(dir, "f", "content");
  auto before = c.dump();
  node.stop();
  node.start();
  EXPECT_EQ(c.dump(), before);
  EXPECT_EQ(node.brick->journal().applied_index(), node.brick->journal().appended_index());
}

TEST(BrickTest, RefusesAnotherBricksDirectory) {
  SimBrick node;
  node.stop();
  auto config = node.config;
  config.volume = Gfid{{42}};
  auto started = node.loop.run_until_done(Brick::start(node.seams, config));
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message(), testing::HasSubstr(Gfid{{42}}.hex()));
  node.start();
}

TEST(BrickTest, LogIsStableSoonAfterAChangeThoughNobodyAsks) {
  SimBrick node;
  Client c(node);
  c.file(root, "f");
  auto appended = node.brick->journal().appended_index();
  node.loop.run_for(std::chrono::milliseconds(50));
  EXPECT_GE(node.brick->journal().stable_index(), appended);
}

/// That were open when they were removed, and the process killed.
std::pair<Gfid, Gfid> two_unlinked_files(SimBrick& node, Client& c) {
  auto kept = c.file(root, "kept", "bytes"), lost = c.file(root, "lost", "x");
  must(c.open(kept));
  must(c.open(lost));
  must(c.unlink(root, "kept"));
  must(c.unlink(root, "lost"));
  node.kill();
  node.start();
  return {kept, lost};
}

TEST(BrickTest, UnlinkedOpenFileSurvivesARestartForItsClient) {
  SimBrick node;
  Client c(node);
  const auto [kept, lost] = two_unlinked_files(node, c);
  auto again = must(c.open(kept));  // within the grace time
  EXPECT_EQ(must(c.read(kept, again.handle, 0, 10)), "bytes");
  node.loop.run_for(std::chrono::seconds(61));
  EXPECT_EQ(must(c.read(kept, again.handle, 0, 10)), "bytes");
  EXPECT_EQ(code_of(c.getattr(lost)), ESTALE);
  must(c.release(kept, again.handle));
  EXPECT_EQ(code_of(c.getattr(kept)), ESTALE);
}

TEST(BrickTest, WhatNobodyHasOpenIsGoneAsSoonAsAllClientsAreBack) {
  SimBrick node;
  Client c(node);
  const auto [kept, lost] = two_unlinked_files(node, c);
  auto again = must(c.open(kept));
  node.loop.run_for(std::chrono::seconds(1));
  EXPECT_EQ(c.attr(lost).nlink, 0u) << "somebody may still come";
  node.brick->ordering().clients_are_back();
  node.loop.run_for(std::chrono::seconds(1));
  EXPECT_EQ(code_of(c.getattr(lost)), ESTALE);
  EXPECT_EQ(must(c.read(kept, again.handle, 0, 10)), "bytes");
  must(c.release(kept, again.handle));
  EXPECT_EQ(code_of(c.getattr(kept)), ESTALE);
}

TEST(BrickTest, WhatIsRemovedBeforeAllClientsAreBackStaysForThem) {
  SimBrick node;
  Client c(node);
  const auto dir = c.dir(root, "d"), opened = c.file(root, "opened", "bytes"), closed = c.file(dir, "f", "x");
  c.file(root, "replacing", "new");
  must(c.open(opened));
  must(c.sync());
  node.kill();
  node.start();
  node.brick->ordering().await_clients();
  node.loop.run_for(std::chrono::seconds(40));  // a checkpoint later the log is not what keeps them
  must(c.unlink(dir, "f"));
  must(c.rmdir(root, "d"));
  must(c.rename(root, "replacing", root, "opened"));
  node.loop.run_for(std::chrono::seconds(10));
  EXPECT_EQ(code_of(c.lookup(root, "d")), ENOENT);
  EXPECT_EQ(code_of(c.mkdir(dir, "inside")), ENOENT);
  auto again = must(c.open(opened));
  EXPECT_EQ(must(c.read(opened, again.handle, 0, 10)), "bytes");
  node.brick->ordering().clients_are_back();
  node.loop.run_for(std::chrono::seconds(1));
  EXPECT_EQ(code_of(c.getattr(closed)), ESTALE);
  EXPECT_EQ(must(c.read(opened, again.handle, 0, 10)), "bytes");
  must(c.release(opened, again.handle));
  EXPECT_EQ(code_of(c.getattr(opened)), ESTALE);
  EXPECT_TRUE(must(node.brick->store().orphans()).empty());
}

TEST(BrickTest, EndOfSessionDropsItsOrphans) {
  SimBrick node;
  Client c(node);
  auto file = c.file(root, "f", "x");
  must(c.open(file));
  must(c.unlink(root, "f"));
  EXPECT_EQ(c.attr(file).nlink, 0u);
  must(c.end_session());
  EXPECT_EQ(code_of(c.getattr(file)), ESTALE);
  EXPECT_TRUE(must(node.brick->store().orphans()).empty());
}

TEST(BrickTest, FullDiskRefusesGrowthBeforeItIsLoggedAndLetsRoomBeMade) {
  SimBrick node;
  node.disk.set_capacity(64 << 20);
  Client c(node);
  auto file = c.file(root, "f", std::string(1 << 20, 'x'));
  auto handle = must(c.open(file)).handle;
  int refused = 0;
  std::uint64_t size = 1 << 20;
  for (; refused == 0 && size < (100 << 20); size += 1 << 20)
    refused = code_of(c.write(file, handle, size, std::string(1 << 20, 'y')));
  EXPECT_EQ(refused, ENOSPC);
  EXPECT_LT(size, 60u << 20) << "nothing was kept back";
  auto appended = node.brick->journal().appended_index();
  EXPECT_EQ(code_of(c.write(file, handle, size, std::string(1 << 20, 'z'))), ENOSPC);
  EXPECT_EQ(node.brick->journal().appended_index(), appended);
  c.truncate(file, 0);
  must(c.write(file, handle, 0, std::string(1 << 20, 'z')));
}

TEST(BrickTest, WhatWasSyncedSurvivesAPowerLoss) {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(seed);
    SimBrick node(seed);
    Client c(node);
    auto dir = c.dir(root, "d");
    auto small = c.file(dir, "small", "x"), large = c.file(dir, "large", std::string(20'000, 'l'));
    c.file(root, "gone", "x");
    must(c.unlink(root, "gone"));
    must(c.rename(dir, "small", root, "moved"));
    c.put(large, 5000, "small write into it");
    must(c.setxattr(small, "user.k", "v"));
    must(c.sync());
    auto before = c.dump();
    node.disk.freeze();
    (void)node.loop.run_until_done(node.brick->stop());
    node.brick.reset();
    node.disk.crash(seed);
    node.start();
    EXPECT_EQ(c.dump(), before);
    c.file(dir, "more", "life goes on");
  }
}

/// The disk refuses what validation could not foresee: the log takes it back, and goes on.
TEST(BrickTest, RecordThatTheDiskRefusesIsUndone) {
  SimBrick node;
  Client c(node);
  auto file = c.file(root, "f", "x");
  // Each call of the disk fails once, in turn; the change has happened or not, the brick never stops.
  for (std::uint64_t n = 1; n < 60; ++n) {
    SCOPED_TRACE(n);
    node.disk.fail_nth(n, ENOSPC);
    auto made = c.mkdir(root, fmt::format("d{}", n));
    (void)c.setxattr(file, "user.k", fmt::format("v{}", n));
    bool fired = node.disk.fault_fired();
    node.disk.heal();
    bool known = made || !made.error().maybe_applied();
    if (known) EXPECT_EQ(code_of(c.lookup(root, fmt::format("d{}", n))), made ? 0 : ENOENT);
    if (!fired) break;
    must(c.mkdir(root, fmt::format("after{}", n)));
  }
  // The mark "applied" of a record may be what failed: such a record is redone by the next start.
  auto before = c.dump();
  node.stop();
  node.start();
  EXPECT_EQ(c.dump(), before);
  EXPECT_EQ(node.brick->journal().applied_index(), node.brick->journal().appended_index());
}

TEST(BrickTest, InvalidationsNameWhatChanged) {
  SimBrick node;
  Client c(node);
  std::vector<Invalidation> told;
  node.brick->invalidations().on_invalidation([&](const Invalidation& one) { told.push_back(one); });
  auto file = c.file(root, "f");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].gfid, root);
  EXPECT_EQ(told[0].entry, (EntryName{root, "f"}));
  EXPECT_EQ(told[0].origin_session, c.context().session);
  told.clear();
  c.chmod(file, 0600);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].gfid, file);
}

TEST(BrickTest, ConcurrentAppendsNeverOverlap) {
  SimBrick node;
  Client c(node);
  auto file = c.file(root, "log");
  auto handle = must(c.open(file)).handle;
  std::vector<Task<void>> tasks;
  std::vector<OpContext> contexts(20);
  auto append = [](FileOps& ops, const OpContext& ctx, Gfid gfid, HandleId handle, char fill) -> Task<void> {
    must(co_await ops.write(ctx, gfid, handle, 0, Buffer::copy_of(std::string(7, fill)), true));
  };
  for (int i = 0; i < 20; ++i) {
    contexts[i] = c.context();
    contexts[i].sequence = 1000 + static_cast<std::uint64_t>(i);
    tasks.push_back(append(node.ops(), contexts[i], file, handle, static_cast<char>('a' + i)));
  }
  node.run(std::move(tasks));
  auto content = c.content(file);
  ASSERT_EQ(content.size(), 140u);
  std::set<std::string> pieces;
  for (int i = 0; i < 20; ++i) pieces.insert(content.substr(7 * i, 7));
  EXPECT_EQ(pieces.size(), 20u);
}

}  // namespace
}  // namespace polder
