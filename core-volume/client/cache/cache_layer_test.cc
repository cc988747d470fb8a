// SPDX-License-Identifier: GPL-3.0-or-later
// What is answered without a question, and that it is what the brick would have said.
#include "core-volume/client/cache/cache_layer.h"

#include <fcntl.h>

#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/rpc/rpc_test_support.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid kRoot = Gfid::root();

struct CachedClient {
  explicit CachedClient(RpcWorld& world, std::string name = "client", CacheOptions options = {})
      : rpc(world.connect(std::move(name))), cache(*rpc, *rpc, options) {}
  std::unique_ptr<RpcClient> rpc;
  CacheLayer cache;
};

class CacheStack : public Stack {
 public:
  ~CacheStack() override { world_.stop(*client_.rpc); }
  FileOps& ops() override { return client_.cache; }
  void run(std::vector<Task<void>> tasks) override {
    TaskGroup group("operations of a test");
    for (auto& task : tasks) group.spawn(world_.loop.executor(), std::move(task));
    world_.run(group.wait_idle());
  }

 private:
  struct NodeWorld : RpcWorld {
    NodeWorld() { role = RpcRole::kNode; }
  };
  NodeWorld world_;
  CachedClient client_{world_};
};

INSTANTIATE_TEST_SUITE_P(Cache, Conformance,
                         testing::Values(conformance_target<CacheStack>("cache_rpc_memory",
                                                                        {.retries = false})),
                         conformance_name);

class CacheLayerTest : public testing::Test {
 public:
  ~CacheLayerTest() override {
    world.brick.let_go();
    world.stop(*one.rpc);
    world.stop(*two.rpc);
  }

 protected:
  RpcWorld world;
  CachedClient one{world}, two{world, "two"};

  FileAttr mkdir(CachedClient& by, Gfid parent, std::string_view name) {
    const NewObject object{.mode = 0755};
    return *world.run(by.cache.mkdir(world.ctx, parent, name, object));
  }
  Opened create(CachedClient& by, Gfid parent, std::string_view name) {
    const NewObject object{.mode = 0644};
    return *world.run(by.cache.create(world.ctx, parent, name, object, O_RDWR | O_EXCL));
  }
  Result<FileAttr> lookup(CachedClient& by, Gfid parent, std::string_view name) {
    return world.run(by.cache.lookup(world.ctx, parent, name));
  }
  Result<FileAttr> getattr(CachedClient& by, Gfid gfid) {
    return world.run(by.cache.getattr(world.ctx, gfid));
  }
  DirectoryPage list(CachedClient& by, Gfid gfid, std::uint64_t cookie, std::uint32_t entries) {
    return *world.run(by.cache.readdir(world.ctx, gfid, cookie, entries, false));
  }
  /// Whether `look` reached the brick.
  bool asks(const std::function<void()>& look) {
    const auto before = world.brick.looks;
    look();
    return world.brick.looks != before;
  }
  void expect_brick_agrees(Gfid gfid) {
    auto here = getattr(one, gfid);
    auto there = world.run(world.memory.getattr(world.ctx, gfid));
    ASSERT_TRUE(here);
    ASSERT_TRUE(there);
    EXPECT_EQ(here->size, there->size);
    EXPECT_EQ(here->nlink, there->nlink);
    EXPECT_EQ(here->mode, there->mode);
    EXPECT_EQ(here->ctime.tv_sec, there->ctime.tv_sec);
    EXPECT_EQ(here->ctime.tv_nsec, there->ctime.tv_nsec);
  }
};

TEST_F(CacheLayerTest, ADirectoryOfOurOwnIsKnownCompletely) {
  const auto d = mkdir(one, kRoot, "d").gfid;
  const auto file = create(one, d, "f").attr.gfid;
  EXPECT_FALSE(asks([&] {
    EXPECT_TRUE(lookup(one, d, "absent").failed_with(ENOENT));
    EXPECT_EQ(lookup(one, d, "f")->gfid, file);
    expect_brick_agrees(d);
    expect_brick_agrees(file);
  }));
  EXPECT_EQ(one.cache.stats().lookups, 2u);
  EXPECT_EQ(one.cache.stats().absent, 1u);
  EXPECT_EQ(one.cache.stats().getattrs, 2u);
}

TEST_F(CacheLayerTest, AnAnswerIsGivenAgain) {
  mkdir(two, kRoot, "d");
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, kRoot, "d")); }));
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, kRoot, "d")); }));
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, kRoot, "x").failed_with(ENOENT)); }));
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, kRoot, "x").failed_with(ENOENT)); }));
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, kRoot, "y").failed_with(ENOENT)); })) << "not complete";
  EXPECT_TRUE(lookup(one, kRoot, std::string(300, 'x')).failed_with(ENAMETOOLONG));
}

TEST_F(CacheLayerTest, WhatAnotherClientChangesIsSeenByTheNextLook) {
  const auto d = mkdir(one, kRoot, "d").gfid;
  EXPECT_TRUE(lookup(one, d, "f").failed_with(ENOENT));
  const auto opened = create(two, d, "f");
  EXPECT_EQ(lookup(one, d, "f")->gfid, opened.attr.gfid);
  expect_brick_agrees(d);
  ASSERT_TRUE(world.run(
      two.cache.write(world.ctx, opened.attr.gfid, opened.handle, 0, Buffer::copy_of("hello"), false)));
  EXPECT_EQ(getattr(one, opened.attr.gfid)->size, 5u);
  ASSERT_TRUE(world.run(two.cache.unlink(world.ctx, d, "f")));
  EXPECT_TRUE(lookup(one, d, "f").failed_with(ENOENT));
}

TEST_F(CacheLayerTest, OurChangesAreKnownFromTheirAnswers) {
  const auto d = mkdir(one, kRoot, "d").gfid, e = mkdir(one, kRoot, "e").gfid;
  const auto opened = create(one, d, "f");
  const auto file = opened.attr.gfid;
  EXPECT_FALSE(asks([&] {
    ASSERT_TRUE(
        world.run(one.cache.write(world.ctx, file, opened.handle, 0, Buffer::copy_of("hello"), false)));
    expect_brick_agrees(file);
    const SetAttr change{.fields = SetAttr::kMode, .mode = 0600};
    ASSERT_TRUE(world.run(one.cache.setattr(world.ctx, file, change)));
    expect_brick_agrees(file);
  }));
  // The answers bring the attributes of the directories, and of what was moved.
  ASSERT_TRUE(world.run(one.cache.rename(world.ctx, d, "f", e, "g", 0)));
  EXPECT_FALSE(asks([&] {
    EXPECT_TRUE(lookup(one, d, "f").failed_with(ENOENT));
    expect_brick_agrees(d);
    expect_brick_agrees(e);
    EXPECT_EQ(lookup(one, e, "g")->gfid, file);
    expect_brick_agrees(file);
  }));
  ASSERT_TRUE(world.run(one.cache.link(world.ctx, file, d, "h")));
  EXPECT_FALSE(asks([&] { EXPECT_EQ(lookup(one, d, "h")->nlink, 2u); }));
  ASSERT_TRUE(world.run(one.cache.unlink(world.ctx, d, "h")));
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, d, "h").failed_with(ENOENT)); }));
  expect_brick_agrees(file);
}

TEST_F(CacheLayerTest, TwoNamesOfOneFileSurviveARenameOfOneToTheOther) {
  const auto d = mkdir(one, kRoot, "d").gfid;
  const auto file = create(one, d, "a").attr.gfid;
  ASSERT_TRUE(world.run(one.cache.link(world.ctx, file, d, "b")));
  ASSERT_TRUE(world.run(one.cache.rename(world.ctx, d, "a", d, "b", 0)));
  EXPECT_EQ(lookup(one, d, "a")->gfid, file);
  EXPECT_EQ(lookup(one, d, "b")->gfid, file);
}

TEST_F(CacheLayerTest, RemovingANameOfAFileThatIsKnownByAnotherOneForgetsItsLinkCount) {
  const auto d = mkdir(two, kRoot, "d").gfid;
  const auto file = create(two, d, "a").attr.gfid;
  ASSERT_TRUE(world.run(two.cache.link(world.ctx, file, d, "b")));
  world.loop.run_for(1s);
  EXPECT_EQ(getattr(one, file)->nlink, 2u);  // by its gfid: the names are not known
  ASSERT_TRUE(world.run(one.cache.unlink(world.ctx, d, "a")));
  EXPECT_EQ(getattr(one, file)->nlink, 1u);
}

TEST_F(CacheLayerTest, AfterAPauseTheFirstLookAsksAndTheNextDoNot) {
  const auto d = mkdir(one, kRoot, "d").gfid;
  world.loop.run_for(5s);
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, d, "a").failed_with(ENOENT)); }));
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, d, "b").failed_with(ENOENT)); }));
}

TEST_F(CacheLayerTest, AListingFromBeginToEndTellsWhatIsNotThere) {
  const auto d = mkdir(two, kRoot, "d").gfid;
  for (int i = 0; i < 10; ++i) create(two, d, "f" + std::to_string(i));
  world.loop.run_for(1s);
  std::uint64_t cookie = 0;
  for (bool end = false; !end;) {
    if (cookie == 0) EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, d, "x").failed_with(ENOENT)); }));
    const auto page = list(one, d, cookie, 3);
    end = page.end;
    // As the kernel does when not all entries fit.
    if (!page.entries.empty()) cookie = page.entries[end ? 0 : page.entries.size() / 2].cookie;
  }
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, d, "absent").failed_with(ENOENT)); }));
  EXPECT_TRUE(lookup(one, d, "f3"));
}

TEST_F(CacheLayerTest, AListingWithAChangeInItsMidstDoesNot) {
  const auto d = mkdir(two, kRoot, "d").gfid;
  for (int i = 0; i < 4; ++i) create(two, d, "f" + std::to_string(i));
  for (auto* changer : {&one, &two}) {
    world.loop.run_for(1s);
    auto page = list(one, d, 0, 2);
    create(*changer, d, changer == &one ? "ours" : "theirs");
    world.loop.run_for(1s);
    while (!page.end) page = list(one, d, page.entries.back().cookie, 2);
    EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, d, "absent").failed_with(ENOENT)); }));
    world.net.break_all();
    world.loop.run_for(1s);
  }
}

TEST_F(CacheLayerTest, WhoLooksForAbsentNamesTwiceMakesTheDirectoryKnown) {
  const auto d = mkdir(two, kRoot, "d").gfid;
  for (int i = 0; i < 100; ++i) create(two, d, "f" + std::to_string(i));
  world.loop.run_for(1s);
  EXPECT_TRUE(lookup(one, d, "x1").failed_with(ENOENT));
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, d, "x2").failed_with(ENOENT)); })) << "and lists it";
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, d, "x3").failed_with(ENOENT)); }));
  EXPECT_TRUE(lookup(one, d, "f7"));
  create(two, d, "x3");
  EXPECT_TRUE(lookup(one, d, "x3")) << "as true as before when another client changes it";
}

TEST_F(CacheLayerTest, ALargeDirectoryIsListedOnlyAsFarAsTheLooksForAbsentNamesAreWorth) {
  const auto d = mkdir(two, kRoot, "d").gfid;
  for (int i = 0; i < 500; ++i) create(two, d, "f" + std::to_string(i));
  world.loop.run_for(1s);
  for (int i = 0; i < 8; ++i)
    EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, d, "x" + std::to_string(i)).failed_with(ENOENT)); })) << i;
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, d, "x8").failed_with(ENOENT)); }));
}

TEST_F(CacheLayerTest, ALostConnectionAndARestartForgetEverything) {
  const auto d = mkdir(one, kRoot, "d").gfid;
  world.net.break_all();
  world.loop.settle();
  EXPECT_EQ(one.cache.stats().objects, 0u);
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, d, "a").failed_with(ENOENT)); }));
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, d, "a").failed_with(ENOENT)); }));
  world.restart_server();
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, d, "a").failed_with(ENOENT)); }));
}

TEST_F(CacheLayerTest, AnAnswerTeachesNothingAboutWhatWeChangeMeanwhile) {
  world.brick.hold = true;
  const NewObject object{.mode = 0755};
  auto making = world.begin(one.cache.mkdir(world.ctx, kRoot, "d", object));
  EXPECT_TRUE(lookup(one, kRoot, "d").failed_with(ENOENT));
  EXPECT_TRUE(asks([&] { (void)lookup(one, kRoot, "d"); }));
  EXPECT_TRUE(asks([&] { (void)getattr(one, kRoot); }));
  EXPECT_TRUE(asks([&] { (void)getattr(one, kRoot); }));
  world.brick.let_go();
  world.loop.settle();
  ASSERT_TRUE(making->has_value());
  EXPECT_TRUE(lookup(one, kRoot, "d"));
  expect_brick_agrees(kRoot);
}

/// Answers of create take their time on the way back.
struct SlowAnswers : PassThroughLayer {
  using PassThroughLayer::PassThroughLayer;
  bool hold = false;
  Event let_go;
  Task<Result<Opened>> create(const OpContext& ctx, Gfid parent, std::string_view name,
                              const NewObject& object, int flags) override {
    auto opened = co_await PassThroughLayer::create(ctx, parent, name, object, flags);
    while (hold) {
      CO_TRY(co_await let_go.wait());
    }
    co_return opened;
  }
};

TEST_F(CacheLayerTest, AnAnswerMayBeOlderThanAnotherChangeOfOurs) {
  const auto d = mkdir(two, kRoot, "d").gfid;
  const auto file = create(two, d, "a").attr.gfid;
  ASSERT_TRUE(world.run(two.cache.link(world.ctx, file, d, "b")));
  world.loop.run_for(1s);
  auto rpc = world.connect("third");
  SlowAnswers slow(*rpc);
  CacheLayer third(slow, *rpc);
  ASSERT_TRUE(world.run(third.lookup(world.ctx, d, "a")));
  slow.hold = true;
  const NewObject object{.mode = 0644};
  auto truncating = world.begin(third.create(world.ctx, d, "a", object, O_RDWR | O_TRUNC));
  // What is behind the name is not known while that is under way.
  ASSERT_TRUE(world.run(third.unlink(world.ctx, d, "a")));
  slow.hold = false;
  slow.let_go.notify_all();
  world.loop.settle();
  ASSERT_TRUE(truncating->has_value());
  EXPECT_EQ(world.run(third.getattr(world.ctx, file))->nlink, 1u);
  world.stop(*rpc);
}

TEST_F(CacheLayerTest, AFailedChangeLeavesWhatItTouchedUnknown) {
  const auto d = mkdir(one, kRoot, "d").gfid;
  create(one, d, "f");
  const NewObject object{.mode = 0755};
  EXPECT_TRUE(world.run(one.cache.mkdir(world.ctx, d, "f", object)).failed_with(EEXIST));
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(one, d, "f")); }));
  EXPECT_FALSE(asks([&] { EXPECT_TRUE(lookup(one, d, "g").failed_with(ENOENT)); }));
}

TEST_F(CacheLayerTest, AFileWithoutANameIsAskedForEachTime) {
  const auto opened = create(one, kRoot, "f");
  ASSERT_TRUE(world.run(one.cache.unlink(world.ctx, kRoot, "f")));
  EXPECT_EQ(getattr(one, opened.attr.gfid)->nlink, 0u);
  EXPECT_TRUE(asks([&] { EXPECT_EQ(getattr(one, opened.attr.gfid)->nlink, 0u); }));
  ASSERT_TRUE(world.run(one.cache.release(world.ctx, opened.attr.gfid, opened.handle)));
  world.loop.run_for(10ms);
  EXPECT_TRUE(getattr(one, opened.attr.gfid).failed_with(ESTALE));
}

TEST_F(CacheLayerTest, AServerWithoutLeasesIsAskedEachTime) {
  world.volume->leases = nullptr;
  world.volume->ops = &world.brick;
  CachedClient third(world, "third");
  const auto d = mkdir(third, kRoot, "d").gfid;
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(third, d, "a").failed_with(ENOENT)); }));
  EXPECT_TRUE(asks([&] { EXPECT_TRUE(lookup(third, d, "a").failed_with(ENOENT)); }));
  EXPECT_EQ(third.cache.stats().objects, 0u);
  world.stop(*third.rpc);
}

}  // namespace
}  // namespace polder
