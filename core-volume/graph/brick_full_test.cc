// SPDX-License-Identifier: GPL-3.0-or-later
// A brick whose file system is full, in the middle of a change too: nothing that was acknowledged is lost,
// what can be deleted can be deleted, and once there is room it goes on by itself.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

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

/// What changes act on, and all that can be seen of it but times.
struct Seen {
  Client& c;
  Gfid dir = c.dir(root, "d");
  Gfid file = c.file(root, "f", "data");

  explicit Seen(Client& client) : c(client) { must(c.setxattr(file, "user.old", "old")); }
  std::vector<std::string> look() {
    auto seen = c.names(root);
    std::ranges::move(c.names(dir), std::back_inserter(seen));
    seen.push_back(c.content(file));
    seen.push_back(fmt::format("{:o} {}", c.attr(file).mode, c.attr(file).nlink));
    for (const auto& key : must(c.listxattr(file))) seen.push_back(key + "=" + must(c.getxattr(file, key)));
    return seen;
  }
};

using QuotaChange = std::function<Result<void>(Seen&)>;

/// The n-th call on the disk is refused. True when the change was in the log by then, and so was taken back.
bool is_refused_by_quota(const QuotaChange& change, std::uint64_t n, bool& fired) {
  SimBrick node;
  node.stop();
  must(node.disk.unlink(Disk::kNoDir, "/b/.polder/reserve"));
  // Too little room for a reserve at the start: with one, what was refused would be tried again.
  const auto space = must(node.disk.statfs(must(node.disk.open(Disk::kNoDir, "/b", O_DIRECTORY)).fd()));
  node.disk.set_capacity((space.f_blocks - space.f_bavail) * space.f_bsize + (450 << 10));
  node.start();
  node.disk.set_capacity(0);
  Client c(node);
  Seen seen(c);
  const auto before = seen.look();
  const auto logged = node.brick->journal().appended_index();
  node.disk.fail_nth(n, EDQUOT);
  const auto changed = change(seen);
  fired = node.disk.fault_fired();
  node.disk.heal();
  // The log belongs to nobody who has a quota, and looking costs nothing.
  const bool after_it_had_happened = !changed && changed.error().maybe_applied();
  if (changed || after_it_had_happened || node.brick->journal().appended_index() == logged) {
    node.kill();
    return false;
  }
  EXPECT_TRUE(changed.failed_with(EDQUOT)) << changed.error().message();
  EXPECT_EQ(seen.look(), before);
  Client other(node, 8);
  EXPECT_EQ(code_of(other.mkdir(root, "others")), 0) << "nobody else is held up";
  EXPECT_EQ(code_of(other.rmdir(root, "others")), 0);
  node.kill();
  node.start();
  EXPECT_EQ(seen.look(), before) << "after a kill";
  return true;
}

TEST(BrickFull, WhatAQuotaOfTheFileSystemRefusesHasNotHappenedAndTheBrickGoesOn) {
  const std::map<std::string, QuotaChange> changes{
      {"create", [](Seen& s) { return outcome_of(s.c.create(s.dir, "new")); }},
      {"mkdir", [](Seen& s) { return outcome_of(s.c.mkdir(s.dir, "new")); }},
      {"symlink", [](Seen& s) { return outcome_of(s.c.symlink(s.dir, "new", "target")); }},
      {"link", [](Seen& s) { return outcome_of(s.c.link(s.file, s.dir, "new")); }},
      {"rename", [](Seen& s) { return outcome_of(s.c.rename(root, "f", s.dir, "new")); }},
      {"new xattr", [](Seen& s) { return outcome_of(s.c.setxattr(s.file, "user.new", "new")); }},
      {"another xattr", [](Seen& s) { return outcome_of(s.c.setxattr(s.file, "user.old", "new")); }},
      {"no xattr", [](Seen& s) { return outcome_of(s.c.removexattr(s.file, "user.old")); }},
      {"chmod",
       [](Seen& s) { return outcome_of(s.c.setattr(s.file, {.fields = SetAttr::kMode, .mode = 0600})); }}};
  for (const auto& [name, change] : changes) {
    int refused = 0;
    bool fired = true;
    for (std::uint64_t n = 1; fired && n < 100; ++n) {
      SCOPED_TRACE(fmt::format("{}, call {}", name, n));
      if (is_refused_by_quota(change, n, fired)) ++refused;
    }
    EXPECT_GT(refused, 0) << name;
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

/// Its bytes are not in the log, so it stays on the disk until its removal is there for certain.
TEST(BrickFull, WhatWasRemovedHasMadeRoomForWhoWritesNext) {
  SimBrick node;
  node.disk.set_capacity(64 << 20);
  node.stop();
  node.start();  // with a reserve for a disk of this size
  Client c(node);
  const auto next = c.file(root, "next", "");
  const auto handle = must(c.open(next)).handle;
  const std::string piece(256 << 10, 'n');
  std::uint64_t size = 0;
  const std::map<std::string, std::function<int()>> ways{
      {"write", [&] { return code_of(c.write(next, handle, size, std::string(4 << 20, 'm'))); }},
      {"fallocate", [&] { return code_of(c.fallocate(next, 0, size, 8 << 20)); }},
      {"copy",
       [&] { return code_of(c.copy_range(next, 0, next, size, std::min<std::uint64_t>(size, 8 << 20))); }}};
  const std::vector<std::pair<std::string, std::string>> cases{{"just written", "write"},
                                                               {"just written", "fallocate"},
                                                               {"just written", "copy"},
                                                               {"written long ago", "write"},
                                                               {"open until now", "write"}};
  node.disk.set_reflink(false);
  for (const auto& [what, way] : cases) {
    SCOPED_TRACE(fmt::format("{}, {}", what, way));
    const auto big = c.file(root, "big", std::string(16 << 20, 'b'));
    if (what == "written long ago") node.loop.run_for(60s);
    for (size = 0; c.write(next, handle, size, piece);) size += piece.size();
    const auto opened = must(c.open(big)).handle;
    if (what != "open until now") must(c.release(big, opened));
    must(c.unlink(root, "big"));
    if (what == "open until now") must(c.release(big, opened));
    EXPECT_EQ(ways.at(way)(), 0);
    must(c.setattr(next, {.fields = SetAttr::kSize, .size = 0}));
    node.loop.run_for(60s);  // the reserve is whole again
  }
}

/// As polderd runs it: short work on the loop thread, the rest on workers. On a simulated disk with so much
/// room.
class ThreadedFullBrick : public LoopStack {
 public:
  explicit ThreadedFullBrick(bool checkpoints = false) {
    must(disk.mkdir(Disk::kNoDir, "/b", 0700));
    must(Brick::format(seams_, "/b", kBrickIdentity));
    leave(64 << 20);
    BrickConfig config{.path = "/b",
                       .volume = kBrickIdentity.volume,
                       .brick = kBrickIdentity.brick,
                       .lock_grace = {},
                       .journal = {},
                       .ordering = {}};
    config.ordering.short_work_inline = true;
    if (checkpoints) {
      config.journal.checkpoint_interval_s = 0;
      config.ordering.maintain_interval = 20ms;
    }
    run_one([](auto* self, auto with) -> Task<void> {
      self->brick_ = must(co_await Brick::start(self->seams_, std::move(with)));
    }(this, config));
  }
  ~ThreadedFullBrick() override {
    leave(0);
    run_one([](auto* self) -> Task<void> { must(co_await self->brick_->stop()); }(this));
  }
  FileOps& ops() override { return brick_->top(); }
  void leave(std::uint64_t bytes) {
    const auto space = must(disk.statfs(must(disk.open(Disk::kNoDir, "/b", O_DIRECTORY)).fd()));
    disk.set_capacity(bytes == 0 ? 0 : (space.f_blocks - space.f_bavail) * space.f_bsize + bytes);
  }

  SimDisk disk;

 private:
  void run_one(Task<void> task) {
    std::vector<Task<void>> tasks;
    tasks.push_back(std::move(task));
    run(std::move(tasks));
  }

  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  std::unique_ptr<Workers> workers_ = make_thread_workers(2);
  NoTransport transport_;
  HlcClock hlc_{*clock_};
  Seams seams_{*clock_, *random_, disk, transport_, *workers_, hlc_};
  std::unique_ptr<Brick> brick_;
};

TEST(BrickFull, RoomIsLookedForBesideTheLoopThread) {
  ThreadedFullBrick node;
  Client c(node);
  auto file = c.file(root, "file", "text");
  auto handle = must(c.open(file)).handle;
  std::atomic<int> syncs = 0, on_loop = 0;
  node.disk.on_syncfs([&, loop = std::this_thread::get_id()] {
    ++syncs;
    on_loop += std::this_thread::get_id() == loop;
  });
  node.leave(1);
  const std::vector<std::function<int()>> changes{
      [&] { return code_of(c.mkdir(root, "new")); }, [&] { return code_of(c.create(root, "made")); },
      [&] { return code_of(c.setxattr(file, "user.key", "value")); },
      [&] { return code_of(c.link(file, root, "linked")); },
      [&] { return code_of(c.write(file, handle, 0, "more")); }};
  while (c.mknod(root, fmt::format("f{}", c.names(root).size()), {.mode = S_IFREG | 0644})) {
  }
  for (const auto& change : changes) {
    std::this_thread::sleep_for(1010ms);  // until it may be looked for again
    const int before = syncs;
    EXPECT_EQ(change(), ENOSPC);
    EXPECT_GT(syncs, before);
  }
  EXPECT_EQ(on_loop, 0);
  EXPECT_TRUE(c.open(file)) << "what is there can be used";
  EXPECT_TRUE(c.create(root, "file", {.mode = 0644}, O_RDWR)) << "with O_CREAT too";
  node.disk.on_syncfs({});
}

/// A file system takes up to half a second to free a GiB: nobody else is held up meanwhile.
void frees_large_files_beside_the_loop(bool checkpoints) {
  ThreadedFullBrick node(checkpoints);
  node.leave(0);
  Client c(node);
  auto wait = [&] {
    for (int i = 0; i < 15; ++i) {
      must(c.statfs());
      std::this_thread::sleep_for(5ms);
    }
  };
  const std::string bytes(1 << 20, 'x');
  auto make = [&](const std::string& name) {
    const auto gfid = c.file(root, name, bytes);
    const auto handle = must(c.open(gfid)).handle;
    for (std::uint64_t i = 1; i < 20; ++i) must(c.write(gfid, handle, i << 20, bytes));
    must(c.release(gfid, handle));
    must(c.sync());
    return gfid;
  };
  const std::map<std::string, std::function<void()>> ends{
      {"unlink", [&] { must(c.unlink(root, "f")); }},
      {"rename", [&] { must(c.rename(root, "other", root, "f")); }},
      {"truncate",
       [&] { must(c.setattr(must(c.lookup(root, "f")).gfid, {.fields = SetAttr::kSize, .size = 1})); }},
      {"open", [&] {
         const auto gfid = must(c.lookup(root, "f")).gfid;
         must(c.release(gfid, must(c.open(gfid, O_RDWR | O_TRUNC)).handle));
       }}};
  for (const auto& [name, end] : ends) {
    make("f");
    c.file(root, "other", "text");
    wait();
    // What has gone since the last call, the last call has freed.
    std::mutex mutex;
    std::uint64_t used = node.disk.used_bytes();
    std::thread::id last;
    int freed = 0, on_loop = 0;
    node.disk.on_call([&, loop = std::this_thread::get_id()](std::string_view) {
      std::lock_guard lock(mutex);
      const bool less = used > node.disk.used_bytes() + (8 << 20);
      freed += less;
      on_loop += less && last == loop;
      used = node.disk.used_bytes();
      last = std::this_thread::get_id();
    });
    end();
    wait();
    node.disk.on_call({});
    EXPECT_EQ(freed, 1) << name;
    EXPECT_EQ(on_loop, 0) << name;
    (void)c.unlink(root, "f");
    (void)c.unlink(root, "other");
  }
}
TEST(BrickFull, LargeFilesAreFreedBesideTheLoopThread) {
  {
    SCOPED_TRACE("just written");
    frees_large_files_beside_the_loop(false);
  }
  SCOPED_TRACE("on disk for long");
  frees_large_files_beside_the_loop(true);
}

}  // namespace
}  // namespace polder
