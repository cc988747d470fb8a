// SPDX-License-Identifier: GPL-3.0-or-later
// A brick whose file system is full, in the middle of a change too: nothing that was acknowledged is lost,
// what can be deleted can be deleted, and once there is room it goes on by itself.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "core-volume/graph/brick_test_support.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid root = Gfid::root();

/// What a change without room meets: one that cannot be taken back by another record.
struct Changes {
  Client& c;
  Gfid dir = c.dir(root, "d");

  explicit Changes(Client& client) : c(client) {
    for (const char* name : {"renamed", "moved", "over", "unlinked"}) c.file(root, name, "o");
    c.dir(root, "removed");
  }
  Result<void> run(int kind) {
    switch (kind) {
      case 0:
        return c.rename(root, "renamed", dir, "new");
      case 1:
        return c.rename(root, "moved", root, "over");
      case 2:
        return c.unlink(root, "unlinked");
      default:
        return c.rmdir(root, "removed");
    }
  }
  static constexpr int kKinds = 4;
};

/// From the n-th call on the disk refuses everything; then it has room again. True when the change was in the
/// log by then.
bool settles(int kind, std::uint64_t n, bool& fired) {
  SimBrick node;
  Client c(node);
  Changes changes(c);
  const auto logged = node.brick->journal().appended_index();
  node.disk.fail_nth(n, ENOSPC, true);
  const auto changed = changes.run(kind);
  fired = node.disk.fault_fired();
  node.disk.heal();
  if (changed || node.brick->journal().appended_index() == logged) {
    node.kill();  // the log itself may wait for a restart
    return false;
  }
  EXPECT_TRUE(changed.error().maybe_applied());
  EXPECT_EQ(code_of(c.mkdir(root, "refused")), ENOSPC) << "nothing may follow";
  node.loop.run_for(6s);
  must(c.mkdir(root, "again"));
  EXPECT_EQ(node.brick->journal().applied_index(), node.brick->journal().appended_index());
  const auto before = c.dump();
  must(c.end_session());
  node.stop();
  node.start();
  EXPECT_EQ(c.dump(), before) << "a start finds nothing to do";
  EXPECT_TRUE(must(node.brick->store().orphans()).empty());
  return true;
}

TEST(BrickFull, AChangeThatCanBeNeitherAppliedNorUndoneIsAppliedOnceThereIsRoom) {
  for (int kind = 0; kind < Changes::kKinds; ++kind) {
    int settled = 0;
    bool fired = true;
    for (std::uint64_t n = 1; fired && n < 100; ++n) {
      SCOPED_TRACE(fmt::format("change {}, call {}", kind, n));
      if (settles(kind, n, fired)) ++settled;
    }
    EXPECT_GT(settled, 2) << kind;
  }
}

TEST(BrickFull, WhatIsThereStaysAndCanBeDeletedAndRoomComesBack) {
  SimBrick node;
  node.disk.set_capacity(64 << 20);
  node.stop();
  node.start();  // with a reserve for a disk of this size
  Client c(node);
  const auto free_before = must(c.statfs()).blocks_available;
  std::vector<std::string> kept;
  for (int i = 0; i < 4000; ++i) {
    const auto name = fmt::format("f{}", i);
    auto made = c.mknod(root, name, {.mode = S_IFREG | 0644});
    if (!made) {
      EXPECT_EQ(code_of(made), ENOSPC);
      break;
    }
    auto handle = must(c.open(made->gfid)).handle;
    const auto written =
        c.write(made->gfid, handle, 0, std::string(100'000, static_cast<char>('a' + i % 26)));
    must(c.release(made->gfid, handle));
    if (!written) {
      EXPECT_EQ(code_of(written), ENOSPC);
      must(c.unlink(root, name));
      break;
    }
    kept.push_back(name);
  }
  ASSERT_LT(kept.size(), 4000u);
  for (std::size_t i = 0; i < kept.size(); ++i)
    EXPECT_EQ(c.content(must(c.lookup(root, kept[i])).gfid),
              std::string(100'000, static_cast<char>('a' + i % 26)));
  for (const auto& name : kept) must(c.unlink(root, name));
  node.loop.run_for(40s);  // upkeep: the reserve is whole again, the log shrinks
  EXPECT_GT(must(c.statfs()).blocks_available, free_before / 2);
  c.file(root, "again", std::string(1 << 20, 'x'));
}

}  // namespace
}  // namespace polder
