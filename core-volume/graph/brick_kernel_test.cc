// SPDX-License-Identifier: GPL-3.0-or-later
// The brick on the kernel's file system, as root: conformance with and without threads, and many changes at
// once in few directories: whatever order they get, the log tells the same story as the tree.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "core-volume/graph/brick_test_support.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {
namespace {

class ThreadedKernelBrick : public KernelBrick {
 public:
  ThreadedKernelBrick() : KernelBrick(make_thread_workers(3)) {}
};

class InlineKernelBrick : public KernelBrick {
 public:
  InlineKernelBrick() : KernelBrick(make_inline_workers()) {}
};

/// As polderd runs it.
class MixedKernelBrick : public KernelBrick {
 public:
  MixedKernelBrick() : KernelBrick(make_thread_workers(3), true) {}
};

std::vector<ConformanceTarget> targets() {
  if (::geteuid() != 0) return {};  // trusted extended attributes; the label "root" says so
  const ConformanceFeatures features{.locks = true};
  return {conformance_target<ThreadedKernelBrick>("kernel_brick_threads", features),
          conformance_target<InlineKernelBrick>("kernel_brick_inline", features),
          conformance_target<MixedKernelBrick>("kernel_brick_mixed", features)};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Conformance);
INSTANTIATE_TEST_SUITE_P(Bricks, Conformance, testing::ValuesIn(targets()), conformance_name);

class MemoryStack : public LoopStack {
 public:
  FileOps& ops() override { return memory_; }

 private:
  std::unique_ptr<Clock> clock_ = make_system_clock();
  HlcClock hlc_{*clock_};
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  MemoryLayer memory_{hlc_, *random_};
};

/// One client's random life. Errors are ordinary: the others are at the same names.
Task<void> live(FileOps& ops, std::vector<Gfid> directories, std::uint32_t session, int operations) {
  auto random = make_seeded_random(session);
  OpContext ctx;
  ctx.session = session;
  auto directory = [&] { return directories[random->below(directories.size())]; };
  auto name = [&] { return std::string(1, static_cast<char>('a' + random->below(8))); };
  for (int i = 0; i < operations; ++i) {
    ++ctx.sequence;
    const auto from = directory(), to = directory();
    const auto one = name(), two = name();
    switch (random->below(9)) {
      case 0:
      case 1: {
        auto opened = co_await ops.create(ctx, from, one, {.mode = 0644}, O_RDWR | O_CREAT);
        if (!opened) break;
        ++ctx.sequence;
        (void)co_await ops.write(ctx, opened->attr.gfid, opened->handle, 0, Buffer::copy_of(one), true);
        (void)co_await ops.release(ctx, opened->attr.gfid, opened->handle);
        break;
      }
      case 2: {
        auto made = co_await ops.mkdir(ctx, from, one, {.mode = 0755});
        if (made) directories.push_back(made->gfid);
        break;
      }
      case 3:
        (void)co_await ops.unlink(ctx, from, one);
        break;
      case 4:
        (void)co_await ops.rmdir(ctx, from, one);
        break;
      case 5:
      case 6:
        (void)co_await ops.rename(ctx, from, one, to, two, random->below(3) == 0 ? RENAME_EXCHANGE : 0);
        break;
      case 7: {
        auto found = co_await ops.lookup(ctx, from, one);
        if (found) (void)co_await ops.link(ctx, found->gfid, to, two);
        break;
      }
      default: {
        auto page = co_await ops.readdir(ctx, from, 0, 100, true);
        if (!page || page->entries.empty()) break;
        SetAttr change{.fields = SetAttr::kMode, .mode = 0600};
        (void)co_await ops.setattr(ctx, page->entries.front().attr.gfid, change);
      }
    }
  }
  (void)co_await ops.end_session(ctx);
}

class BrickStressTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(ShortWork, BrickStressTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Inline" : "OnWorkers"; });

TEST_P(BrickStressTest, LogTellsTheSameStoryAsTheTree) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: trusted extended attributes";
  KernelBrick stack(make_thread_workers(4), GetParam());
  Client c(stack);
  std::vector<Gfid> directories{Gfid::root(), c.dir(Gfid::root(), "x"), c.dir(Gfid::root(), "y")};
  std::vector<Task<void>> clients;
  for (std::uint32_t session = 100; session < 108; ++session)
    clients.push_back(live(stack.ops(), directories, session, 150));
  stack.run(std::move(clients));

  auto& journal = stack.brick().journal();
  EXPECT_EQ(journal.applied_index(), journal.appended_index());
  EXPECT_EQ(stack.brick().ordering().open_handles(), 0u);
  EXPECT_TRUE(must(stack.brick().store().orphans()).empty());

  std::vector<Record> records;
  auto reader = must(journal.read_from(1, true));
  while (auto record = must(reader->next())) records.push_back(*std::move(record));
  EXPECT_GT(records.size(), 300u);
  MemoryStack model;
  Client model_client(model);
  must(model_client.replay(records));
  EXPECT_EQ(c.dump(), model_client.dump());
}

}  // namespace
}  // namespace polder
