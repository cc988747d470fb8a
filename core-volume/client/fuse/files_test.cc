// SPDX-License-Identifier: GPL-3.0-or-later
// System calls on open files through a mount: data, sizes, mappings, what ends with a close or a signal.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/coro.h"
#include "core-volume/client/fuse/test_volume.h"

namespace polder {
namespace {

struct Fd {
  explicit Fd(int the_fd) : fd(the_fd) { EXPECT_GE(fd, 0) << strerror(errno); }
  Fd(const std::string& path, int flags) : Fd(open(path.c_str(), flags, 0644)) {}
  Fd(const Fd&) = delete;
  ~Fd() { close(fd); }
  operator int() const { return fd; }
  int fd;
};

std::string read_at(int fd, std::size_t size, off_t offset) {
  std::string bytes(size, '\0');
  const ssize_t n = pread(fd, bytes.data(), size, offset);
  if (n < 0) return "error: " + std::string(strerror(errno));
  bytes.resize(static_cast<std::size_t>(n));
  return bytes;
}

TEST(FuseFiles, data_of_all_sizes_comes_back) {
  TestVolume volume;
  for (std::size_t size : {0UL, 1UL, 4095UL, 4097UL, 32767UL, 32768UL, 1048575UL, 1048577UL, 5000001UL}) {
    const std::string bytes = pattern(size, static_cast<unsigned>(size));
    write_file(volume.path("f"), bytes);
    EXPECT_EQ(stat_of(volume.path("f")).st_size, static_cast<off_t>(size));
    EXPECT_TRUE(read_file(volume.path("f")) == bytes) << size;
  }
}

TEST(FuseFiles, random_writes_agree_with_a_model) {
  TestVolume volume;
  Fd fd(volume.path("f"), O_RDWR | O_CREAT);
  std::string model;
  for (unsigned i = 0; i < 300; ++i) {
    const std::size_t offset = (i * 7919U) % 400'000, size = (i * 104729U) % 70'000 + 1;
    const std::string bytes = pattern(size, i);
    ASSERT_EQ(pwrite(fd, bytes.data(), size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
    if (model.size() < offset + size) model.resize(offset + size);
    model.replace(offset, size, bytes);
    if (i % 50 == 0) {
      model.resize(model.size() / 2);
      ASSERT_EQ(errno_of(ftruncate(fd, static_cast<off_t>(model.size()))), 0);
    }
  }
  EXPECT_TRUE(read_at(fd, model.size() + 10, 0) == model);
  EXPECT_TRUE(read_file(volume.path("f")) == model);
}

TEST(FuseFiles, open_flags) {
  TestVolume volume;
  const std::string file = volume.path("f");
  EXPECT_EQ(errno_of(open(file.c_str(), O_RDONLY)), ENOENT);
  write_file(file, "content");
  EXPECT_EQ(errno_of(open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600)), EEXIST);
  EXPECT_EQ(errno_of(open(file.c_str(), O_RDONLY | O_DIRECTORY)), ENOTDIR);
  {
    Fd fd(file, O_RDWR | O_CREAT);
    EXPECT_EQ(read_at(fd, 10, 0), "content");
  }
  {
    Fd fd(file, O_WRONLY | O_TRUNC);
  }
  EXPECT_EQ(stat_of(file).st_size, 0);
  EXPECT_EQ(errno_of(open(volume.path("").c_str(), O_TMPFILE | O_RDWR, 0600)), EOPNOTSUPP);
}

TEST(FuseFiles, an_unlinked_file_lives_until_its_last_close) {
  TestVolume volume;
  const std::string file = volume.path("f");
  write_file(file, "still here");
  {
    Fd fd(file, O_RDWR);
    ASSERT_EQ(errno_of(unlink(file.c_str())), 0);
    struct stat st{};
    ASSERT_EQ(errno_of(fstat(fd, &st)), 0);
    EXPECT_EQ(st.st_nlink, 0U);
    EXPECT_EQ(read_at(fd, 20, 0), "still here");
    EXPECT_EQ(pwrite(fd, "S", 1, 0), 1);
    EXPECT_EQ(errno_of(fchmod(fd, 0600)), 0);
    EXPECT_EQ(errno_of(ftruncate(fd, 5)), 0);
    Fd again("/proc/self/fd/" + std::to_string(fd.fd), O_RDONLY);
    EXPECT_EQ(read_at(again, 20, 0), "Still");
    write_file(file, "another");
    EXPECT_EQ(read_at(fd, 20, 0), "Still");
  }
  EXPECT_EQ(read_file(file), "another");
  EXPECT_TRUE(eventually([&] { return volume.stats().open_files == 0; }));
}

TEST(FuseFiles, two_appenders_lose_nothing) {
  TestVolume volume;
  const std::string file = volume.path("log");
  constexpr int kWriters = 4, kLines = 500;
  write_file(file, "");
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w)
    writers.emplace_back([&, w] {
      Fd fd(file, O_WRONLY | O_APPEND);
      for (int i = 0; i < kLines; ++i) {
        const std::string line =
            std::string(static_cast<std::size_t>(w + 1) * 10, static_cast<char>('a' + w)) + "\n";
        ASSERT_EQ(write(fd, line.data(), line.size()), static_cast<ssize_t>(line.size()));
      }
    });
  for (auto& writer : writers) writer.join();
  const std::string text = read_file(file);
  EXPECT_EQ(text.size(), 500U * (11 + 21 + 31 + 41));
  std::array<int, kWriters> lines{};
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const auto w = static_cast<std::size_t>(text[at] - 'a');
    ASSERT_LT(w, lines.size());
    ASSERT_EQ(text.substr(at, end - at), std::string((w + 1) * 10, text[at])) << "torn line at " << at;
    ++lines[w];
    at = end + 1;
  }
  for (int n : lines) EXPECT_EQ(n, kLines);
}

TEST(FuseFiles, an_appender_knows_size_and_position) {
  TestVolume volume;
  const std::string file = volume.path("f");
  write_file(file, "12345");
  Fd fd(file, O_RDWR | O_APPEND);
  ASSERT_EQ(write(fd, "678", 3), 3);
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 8);
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 8);
  EXPECT_EQ(pwrite(fd, "9", 1, 0), 1);  // Linux appends whatever the offset says
  EXPECT_EQ(read_at(fd, 20, 0), "123456789");
  EXPECT_EQ(read_file(file), "123456789");
  void* map = mmap(nullptr, 9, PROT_READ, MAP_PRIVATE, fd, 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_EQ(memcmp(map, "123456789", 9), 0);
  munmap(map, 9);
}

TEST(FuseFiles, append_switched_on_later) {
  TestVolume volume;
  const std::string file = volume.path("f");
  write_file(file, "base");
  Fd cached(file, O_RDWR);
  EXPECT_EQ(read_at(cached, 10, 0), "base");
  write_file(file, "+more", O_APPEND);
  ASSERT_EQ(errno_of(fcntl(cached, F_SETFL, O_APPEND)), 0);
  ASSERT_EQ(write(cached, "+end", 4), 4);
  EXPECT_EQ(read_file(file), "base+more+end");
}

TEST(FuseFiles, direct_io) {
  TestVolume volume;
  const std::string file = volume.path("f"), bytes = pattern(3 << 20);
  {
    Fd fd(file, O_WRONLY | O_CREAT | O_DIRECT);
    ASSERT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  Fd fd(file, O_RDWR | O_DIRECT);
  EXPECT_TRUE(read_at(fd, bytes.size() + 1, 0) == bytes);
  Fd cached(file, O_RDONLY);
  EXPECT_EQ(read_at(cached, 10, 0), bytes.substr(0, 10));
  ASSERT_EQ(pwrite(fd, "direct", 6, 2), 6);
  EXPECT_EQ(read_at(cached, 10, 0), bytes.substr(0, 2) + "direct" + bytes.substr(8, 2))
      << "one machine, one view: the pages of the other descriptor are dropped";
}

TEST(FuseFiles, shared_mappings_read_and_write) {
  TestVolume volume;
  const std::string file = volume.path("f"), bytes = pattern(300'000);
  write_file(file, bytes);
  Fd fd(file, O_RDWR);
  char* map = static_cast<char*>(mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_EQ(memcmp(map, bytes.data(), bytes.size()), 0);
  memcpy(map + 100'000, "mapped", 6);
  EXPECT_EQ(read_at(fd, 6, 100'000), "mapped") << "before it is written back";
  ASSERT_EQ(errno_of(msync(map, bytes.size(), MS_SYNC)), 0);
  ASSERT_EQ(pwrite(fd, "written", 7, 200'000), 7);
  EXPECT_EQ(memcmp(map + 200'000, "written", 7), 0);
  munmap(map, bytes.size());
  std::string expected = bytes;
  expected.replace(100'000, 6, "mapped").replace(200'000, 7, "written");
  EXPECT_TRUE(read_file(file) == expected);
}

TEST(FuseFiles, holes_are_made_found_and_copied) {
  TestVolume volume;
  const std::string file = volume.path("f");
  Fd fd(file, O_RDWR | O_CREAT);
  constexpr off_t kMiB = 1 << 20;
  ASSERT_EQ(errno_of(ftruncate(fd, 4 * kMiB)), 0);
  const std::string bytes = pattern(64 << 10);
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), kMiB), 65536);
  EXPECT_EQ(lseek(fd, 0, SEEK_DATA), kMiB);
  EXPECT_EQ(lseek(fd, kMiB, SEEK_HOLE), kMiB + 65536);
  EXPECT_EQ(errno_of(lseek(fd, 2 * kMiB, SEEK_DATA)), ENXIO);
  EXPECT_LT(stat_of(file).st_blocks, 1024);
  ASSERT_EQ(errno_of(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kMiB, 32768)), 0);
  EXPECT_EQ(read_at(fd, 65536, kMiB), std::string(32768, '\0') + bytes.substr(32768));
  EXPECT_EQ(errno_of(fallocate(fd, 0, 4 * kMiB, kMiB)), 0);
  EXPECT_EQ(stat_of(file).st_size, 5 * kMiB);
  EXPECT_EQ(errno_of(fallocate(fd, FALLOC_FL_KEEP_SIZE, 5 * kMiB, kMiB)), 0);
  EXPECT_EQ(stat_of(file).st_size, 5 * kMiB);
  EXPECT_EQ(errno_of(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, kMiB)), EOPNOTSUPP);

  Fd copy(volume.path("copy"), O_RDWR | O_CREAT);
  off_t from = kMiB, to = 10;
  ASSERT_EQ(copy_file_range(fd, &from, copy, &to, 65536, 0), 65536);
  EXPECT_EQ(stat_of(volume.path("copy")).st_size, 65546);
  EXPECT_EQ(read_at(copy, 32768, 10 + 32768), bytes.substr(32768));
}

TEST(FuseFiles, fsync_of_files_directories_and_the_whole) {
  TestVolume volume;
  Fd fd(volume.path("f"), O_RDWR | O_CREAT);
  ASSERT_EQ(write(fd, "x", 1), 1);
  EXPECT_EQ(errno_of(fsync(fd)), 0);
  EXPECT_EQ(errno_of(fdatasync(fd)), 0);
  Fd directory(volume.path(""), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(errno_of(fsync(directory)), 0);
  EXPECT_EQ(errno_of(syncfs(fd)), 0);
}

TEST(FuseFiles, a_users_write_removes_set_user_id) {
  TestVolume volume;
  chmod(volume.path("").c_str(), 0755);
  for (int flags : {0, int{O_APPEND}, int{O_DIRECT}}) {
    const std::string file = volume.path("tool" + std::to_string(flags));
    write_file(file, "x");
    chmod(file.c_str(), 06777);
    auto write_as_user = [&] {
      const int fd = open(file.c_str(), O_WRONLY | flags);
      return fd >= 0 && write(fd, "y", 1) == 1 ? 0 : errno;
    };
    EXPECT_EQ(in_child(write_as_user, 1001), 0);
    EXPECT_EQ(stat_of(file).st_mode & 07777, 0777U) << flags;
  }
}

TEST(FuseFiles, many_threads_at_once) {
  TestVolume volume;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 60; ++i) {
        const std::string file = volume.path("t" + std::to_string(t) + "-" + std::to_string(i));
        const std::string bytes = pattern(static_cast<std::size_t>(i) * 1000, static_cast<unsigned>(t));
        write_file(file, bytes);
        EXPECT_TRUE(read_file(file) == bytes);
        if (i % 2 == 0) EXPECT_EQ(errno_of(unlink(file.c_str())), 0);
      }
    });
  for (auto& thread : threads) thread.join();
}

/// Holds operations on names that begin with "slow" until they are cancelled.
class SlowNames : public Hook {
 public:
  std::atomic<int> waiting = 0;
  Task<Result<void>> before(const OpCall& call) override {
    if (!call.name.starts_with("slow")) co_return Result<void>();
    ++waiting;
    auto waited = co_await never_.wait();
    --waiting;
    co_return waited;
  }

 private:
  Event never_;
};

void ignore_alarm(int) {}

TEST(FuseInterrupts, a_fatal_signal_ends_a_wait) {
  for (int signal : {SIGKILL, SIGTERM}) {
    auto slow = std::make_shared<SlowNames>();
    TestVolume volume({.hook = slow});
    const std::string file = volume.path("slow");
    const pid_t child = fork();
    if (child == 0) {
      stat(file.c_str(), new struct stat);
      _exit(0);
    }
    ASSERT_TRUE(eventually([&] { return slow->waiting == 1; }));
    kill(child, signal);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(WTERMSIG(status), signal);
    EXPECT_TRUE(eventually([&] { return slow->waiting == 0; }));
  }
}

TEST(FuseInterrupts, a_handled_signal_does_not_but_a_fatal_one_after_it_does) {
  auto slow = std::make_shared<SlowNames>();
  TestVolume volume({.hook = slow});
  const std::string file = volume.path("slow");
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGUSR1, ignore_alarm);
    stat(file.c_str(), new struct stat);
    _exit(0);
  }
  ASSERT_TRUE(eventually([&] { return slow->waiting == 1; }));
  kill(child, SIGUSR1);
  usleep(500'000);  // longer than the server takes to look again
  EXPECT_EQ(waitpid(child, nullptr, WNOHANG), 0) << "stat() must not fail with EINTR";
  kill(child, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST(FuseStop, ends_while_files_are_open_and_requests_wait) {
  auto slow = std::make_shared<SlowNames>();
  TestVolume volume({.hook = slow});
  const std::string file = volume.path("slow");
  Fd fd(volume.path("f"), O_RDWR | O_CREAT);
  std::thread waits([&] {
    struct stat st{};
    EXPECT_NE(errno_of(stat(file.c_str(), &st)), 0);
  });
  ASSERT_TRUE(eventually([&] { return slow->waiting == 1; }));
  volume.unmount();  // expects that every handle has been given back
  waits.join();
  EXPECT_EQ(errno_of(write(fd, "x", 1)), ENOTCONN);
}

TEST(FuseStop, ends_when_somebody_else_unmounts) {
  TestVolume volume;
  write_file(volume.path("f"), "x");
  EXPECT_EQ(std::system(("umount " + volume.path("")).c_str()), 0);
  volume.unmount();
}

}  // namespace
}  // namespace polder
