// SPDX-License-Identifier: GPL-3.0-or-later
// Reads of what is not in the page cache, while the loop is busy: it looks for the bytes itself.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <filesystem>

#include "base/coro.h"
#include "base/loop_watch.h"
#include "core-volume/graph/brick_test_support.h"
#include "core-volume/layers/ordering/fetch_patience.h"

namespace polder {
namespace {

constexpr int kFiles = 8, kPages = 64;
constexpr std::size_t kPage_bytes = 4096;

std::string page(int file, int number) {
  std::string text = fmt::format("file {}, page {} ", file, number);
  text.resize(kPage_bytes, static_cast<char>('a' + (file + number) % 26));
  return text;
}

void drop_cached_pages(const std::string& brick) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(brick)) {
    if (!entry.is_regular_file()) continue;
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0) << entry.path();
    EXPECT_EQ(::fdatasync(fd), 0);
    EXPECT_EQ(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    ::close(fd);
  }
}

/// What run_loop() does while it is busy, until all have ended.
Task<void> look_while(const int& readers) {
  const auto executor = co_await asio::this_coro::executor;
  auto& watch = LoopWatch::of(executor);
  watch.set_busy(true);
  while (readers > 0) {
    watch.look();
    co_await asio::post(asio::use_awaitable);
  }
  watch.set_busy(false);
}

Task<void> read_pages(FileOps& ops, Gfid gfid, int file, int& readers) {
  const OpContext ctx{.session = 7};
  auto opened = must(co_await ops.open(ctx, gfid, O_RDONLY));
  for (int i = 0; i < kPages; ++i) {
    const int number = (i * 37 + file) % kPages;
    auto bytes = must(co_await ops.read(ctx, gfid, opened.handle, number * kPage_bytes, kPage_bytes));
    EXPECT_EQ(bytes.text(), page(file, number));
  }
  EXPECT_TRUE(co_await ops.release(ctx, gfid, opened.handle));
  --readers;
}

TEST(BrickColdReadTest, ManyAtOnceGetTheirOwnBytes) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: trusted extended attributes";
  KernelBrick stack(make_thread_workers(3), true);
  Client c(stack);
  std::vector<Task<void>> tasks;
  int readers = kFiles;
  for (int file = 0; file < kFiles; ++file) {
    std::string text;
    for (int number = 0; number < kPages; ++number) text += page(file, number);
    const auto gfid = c.file(Gfid::root(), fmt::format("f{}", file), text);
    tasks.push_back(read_pages(stack.ops(), gfid, file, readers));
  }
  must(c.sync());
  drop_cached_pages(stack.brick().config().path);
  tasks.push_back(look_while(readers));
  stack.run(std::move(tasks));
}

TEST(FetchPatienceTest, ASlowDiskIsTriedNowAndThen) {
  FetchPatience patience;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(patience.wait_now());
    patience.waited(false);
  }
  EXPECT_TRUE(patience.wait_now()) << "three in a row may be chance";
  patience.waited(false);
  for (int pause : {64, 128, 256, 512, 1024, 2048, 4096, 4096}) {
    for (int i = 0; i < pause; ++i) EXPECT_FALSE(patience.wait_now());
    EXPECT_TRUE(patience.wait_now());
    patience.waited(false);
  }
  for (int i = 0; i < 4096; ++i) EXPECT_FALSE(patience.wait_now());
  patience.waited(true);
  EXPECT_TRUE(patience.wait_now()) << "it is fast again";
}

}  // namespace
}  // namespace polder
