// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/test_volume.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <random>
#include <thread>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/coro.h"
#include "base/hlc.h"
#include "base/random.h"
#include "core-volume/layers/locks/locks_layer.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {

namespace {

class NoHook : public Hook {};

/// What the bricks would tell the other mounts of each change that went through one of them, and that one of
/// the directory.
class Feed : public Hook, public InvalidationSource, public AttributeSource {
 public:
  Feed(std::vector<std::shared_ptr<Feed>>& all, FileOps& brick) : all_(all), brick_(brick) {}

  void on_invalidation(std::function<void(const Invalidation&)> listener) override {
    listener_ = std::move(listener);
  }
  void on_attributes(std::function<void(const FileAttr&)> listener) override {
    attribute_listener_ = std::move(listener);
  }
  Task<Result<void>> after(const OpCall& call, const Error* failure) override {
    if (!call.is_change || failure != nullptr) co_return Result<void>();
    tell_others(call);
    if (!names_an_entry(call.kind)) co_return Result<void>();
    auto directory = co_await brick_.getattr(call.ctx, call.gfid);
    if (directory && attribute_listener_) attribute_listener_(*directory);
    co_return Result<void>();
  }

 private:
  static bool names_an_entry(OpKind kind) {
    return kind >= OpKind::kMknod && kind <= OpKind::kRename && kind != OpKind::kLink;
  }
  void tell_others(const OpCall& call) {
    Invalidation change;
    change.gfid = call.gfid;
    if (names_an_entry(call.kind)) change.entry = EntryName{call.gfid, std::string(call.name)};
    for (const auto& feed : all_)
      if (feed.get() != this && feed->listener_) feed->listener_(change);
  }

  std::vector<std::shared_ptr<Feed>>& all_;
  FileOps& brick_;
  std::function<void(const Invalidation&)> listener_;
  std::function<void(const FileAttr&)> attribute_listener_;
};

std::string make_directory() {
  std::string path = testing::TempDir() + "polder-fuse-XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

}  // namespace

struct TestVolume::Impl {
  struct Mount {
    std::string directory = make_directory();
    std::unique_ptr<FileOps> hooked;
    std::unique_ptr<FileOps> feeding;
    std::unique_ptr<FuseServer> server;
  };

  explicit Impl(Options the_options) : options(std::move(the_options)) {
    if (options.hook == nullptr) options.hook = std::make_shared<NoHook>();
    for (std::size_t i = 0; i < options.mounts; ++i) add_mount();
    loop_thread = std::thread([this] { loop.run(); });
  }

  void add_mount() {
    auto mount = std::make_unique<Mount>();
    feeds.push_back(std::make_shared<Feed>(feeds, memory));
    mount->hooked = std::make_unique<HookLayer>(locks, options.hook);
    mount->feeding = std::make_unique<HookLayer>(*mount->hooked, feeds.back());
    FuseOptions fuse{.mountpoint = mount->directory, .source = "test:/memory"};
    fuse.mount_flags = options.mount_flags;
    fuse.attribute_timeout = fuse.entry_timeout = options.timeout;
    fuse.attributes = feeds.back().get();
    fuse.invalidate_attributes_at_open = options.attributes_at_open;
    fuse.forgotten = options.forgotten;
    InvalidationSource* source = options.invalidations ? feeds.back().get() : nullptr;
    mount->server = std::make_unique<FuseServer>(*mount->feeding, source, *clock, fuse);
    const auto mounted = mount->server->mount();
    EXPECT_TRUE(mounted) << mounted.error().message();
    tasks.spawn(loop.get_executor(), run(*mount->server));
    mounts.push_back(std::move(mount));
  }

  Task<void> run(FuseServer& server) {
    auto ended = co_await server.run();
    EXPECT_TRUE(ended);
  }
  Task<void> stop(FuseServer& server) {
    auto stopped = co_await server.stop();
    EXPECT_TRUE(stopped) << stopped.error().message();
  }

  void unmount() {
    if (!loop_thread.joinable()) return;
    asio::post(loop, [this] {
      for (auto& mount : mounts) tasks.spawn(loop.get_executor(), stop(*mount->server));
      work.reset();
    });
    loop_thread.join();
    for (auto& mount : mounts) {
      EXPECT_EQ(mount->server->stats().open_files, 0U);
      mount->server.reset();
      EXPECT_EQ(rmdir(mount->directory.c_str()), 0) << mount->directory << ": still mounted?";
    }
  }

  Options options;
  std::unique_ptr<Clock> clock = make_system_clock();
  HlcClock hlc{*clock};
  std::unique_ptr<Random> random = make_seeded_random(1);
  MemoryLayer memory{hlc, *random};
  LocksLayer locks{memory, *clock};
  asio::io_context loop{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{loop.get_executor()};
  TaskGroup tasks{"test volume"};
  std::vector<std::shared_ptr<Feed>> feeds;
  std::vector<std::unique_ptr<Mount>> mounts;
  std::thread loop_thread;
};

TestVolume::TestVolume() : TestVolume(Options{}) {}
TestVolume::TestVolume(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
TestVolume::~TestVolume() {
  impl_->unmount();
}

std::string TestVolume::path(std::string_view below, std::size_t mount) const {
  return impl_->mounts.at(mount)->directory + "/" + std::string(below);
}

void TestVolume::on_loop(const std::function<void()>& function) {
  std::promise<void> done;
  asio::post(impl_->loop, [&] {
    function();
    done.set_value();
  });
  done.get_future().wait();
}

FuseServer::Stats TestVolume::stats(std::size_t mount) {
  FuseServer::Stats stats;
  on_loop([&] { stats = impl_->mounts.at(mount)->server->stats(); });
  return stats;
}

void TestVolume::unmount() {
  impl_->unmount();
}

void write_file(const std::string& path, std::string_view text, int flags) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | (flags == 0 ? O_TRUNC : flags), 0644);
  ASSERT_GE(fd, 0) << path << ": " << strerror(errno);
  ASSERT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size())) << strerror(errno);
  ASSERT_EQ(close(fd), 0) << strerror(errno);
}

std::string read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY);
  if (fd < 0) return "cannot open: " + std::string(strerror(errno));
  std::string text;
  char piece[64 << 10];
  for (ssize_t n; (n = read(fd, piece, sizeof piece)) != 0;) {
    if (n < 0) {
      text = "cannot read: " + std::string(strerror(errno));
      break;
    }
    text.append(piece, static_cast<std::size_t>(n));
  }
  close(fd);
  return text;
}

struct stat stat_of(const std::string& path) {
  struct stat st{};
  EXPECT_EQ(lstat(path.c_str(), &st), 0) << path << ": " << strerror(errno);
  return st;
}

int errno_of(long returned) {
  return returned < 0 ? errno : 0;
}

bool eventually(const std::function<bool()>& condition) {
  for (int tries = 0; tries < 1000; ++tries) {
    if (condition()) return true;
    usleep(10'000);
  }
  return false;
}

int in_child(const std::function<int()>& body, unsigned uid) {
  const pid_t child = fork();
  if (child == 0) {
    if (uid != 0 && (setgid(uid) != 0 || setuid(uid) != 0)) _exit(99);
    _exit(body());
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return -1000;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

std::string pattern(std::size_t size_bytes, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size_bytes, '\0');
  for (std::size_t i = 0; i < size_bytes; i += 8) {
    const std::uint64_t word = random();
    memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, size_bytes - i));
  }
  return bytes;
}

}  // namespace polder
