// SPDX-License-Identifier: GPL-3.0-or-later
// docs/coherence.md, sentence by sentence: one volume, mounted twice. A is mount 0, B is mount 1.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "base/coro.h"
#include "core-volume/client/fuse/test_volume.h"

namespace polder {
namespace {

/// A kernel that never asks again by itself: what is seen all the same is seen for another reason than time.
constexpr std::chrono::hours kForEver(1);

/// Counts what reaches the volume.
class Counter : public Hook {
 public:
  std::map<OpKind, std::atomic<int>> calls;
  Counter() {
    for (const OpInfo& info : kOpTable) calls[info.kind] = 0;
  }
  Task<Result<void>> before(const OpCall& call) override {
    ++calls[call.kind];
    co_return Result<void>();
  }
};

class Coherence : public testing::Test {
 protected:
  /// Two mounts; attributes and names are believed for `timeout`.
  void mount(std::chrono::nanoseconds timeout = kForEver, bool invalidations = false) {
    counter = std::make_shared<Counter>();
    volume.emplace(TestVolume::Options{
        .mounts = 2, .timeout = timeout, .invalidations = invalidations, .hook = counter});
  }
  std::string a(std::string_view below) const { return volume->path(below, 0); }
  std::string b(std::string_view below) const { return volume->path(below, 1); }

  std::shared_ptr<Counter> counter;
  std::optional<TestVolume> volume;
};

std::string read_at(int fd, std::size_t size, off_t offset) {
  std::string bytes(size, '\0');
  const ssize_t n = pread(fd, bytes.data(), size, offset);
  if (n < 0) return "error: " + std::string(strerror(errno));
  bytes.resize(static_cast<std::size_t>(n));
  return bytes;
}

std::set<std::string> names_in(const std::string& directory) {
  std::set<std::string> names;
  DIR* stream = opendir(directory.c_str());
  if (stream == nullptr) return {"opendir failed"};
  while (const dirent* entry = readdir(stream))
    if (entry->d_name[0] != '.') names.insert(entry->d_name);
  closedir(stream);
  return names;
}

TEST_F(Coherence, C1_open_sees_what_was_written_before_longer_or_shorter) {
  mount();
  write_file(a("f"), "first");
  EXPECT_EQ(read_file(b("f")), "first");  // B now has pages, size and name in its cache
  write_file(a("f"), "second, and longer");
  EXPECT_EQ(read_file(b("f")), "second, and longer");
  write_file(a("f"), "3rd");
  EXPECT_EQ(read_file(b("f")), "3rd");
  ASSERT_EQ(errno_of(truncate(a("f").c_str(), 1000)), 0);
  EXPECT_EQ(read_file(b("f")).size(), 1000U);
}

TEST_F(Coherence, C1_neither_close_nor_fsync_is_needed) {
  mount();
  const int writer = open(a("f").c_str(), O_WRONLY | O_CREAT, 0644);
  for (int round = 0; round < 20; ++round) {
    const std::string text(static_cast<std::size_t>(round) * 1000 + 1, static_cast<char>('a' + round));
    ASSERT_EQ(pwrite(writer, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    EXPECT_EQ(read_file(b("f")), text);
  }
  close(writer);
}

TEST_F(Coherence, C1_without_the_attributes_dropped_at_open_it_would_fail) {
  volume.emplace(TestVolume::Options{.mounts = 2, .timeout = kForEver, .attributes_at_open = false});
  write_file(a("f"), "first");
  EXPECT_EQ(read_file(b("f")), "first");
  write_file(a("f"), "first and more");
  EXPECT_NE(read_file(b("f")), "first and more") << "the kernel has changed: is the measure still needed?";
}

TEST_F(Coherence, C2_unchanged_pages_are_used_again_changed_ones_never) {
  mount();
  write_file(a("f"), "same size 1");
  EXPECT_EQ(read_file(b("f")), "same size 1");
  const int reads = counter->calls[OpKind::kRead];
  EXPECT_GT(reads, 0);
  EXPECT_EQ(read_file(b("f")), "same size 1");
  EXPECT_EQ(counter->calls[OpKind::kRead], reads) << "a second reading must come from the kernel's pages";
  write_file(a("f"), "same size 2", O_WRONLY | O_CREAT);
  EXPECT_EQ(read_file(b("f")), "same size 2");
  // A's write, then B's own write elsewhere, then A's again: B must not take its own for the only change.
  write_file(a("f"), "AAAA size 2", O_CREAT);
  const int own = open(b("f").c_str(), O_WRONLY);
  ASSERT_EQ(pwrite(own, "B", 1, 10), 1);
  close(own);
  EXPECT_EQ(read_file(b("f")), "AAAA size B");
}

TEST_F(Coherence, C3_an_open_file_is_read_with_a_seconds_delay_at_most) {
  mount(std::chrono::seconds(1));
  write_file(a("f"), "old");
  const int reader = open(b("f").c_str(), O_RDONLY);
  EXPECT_EQ(read_at(reader, 20, 0), "old");
  write_file(a("f"), "newer");
  usleep(1'200'000);
  EXPECT_EQ(read_at(reader, 20, 0), "newer");
  close(reader);
}

TEST_F(Coherence, C3_invalidations_make_it_prompt) {
  mount(kForEver, true);
  write_file(a("f"), "old");
  const int reader = open(b("f").c_str(), O_RDONLY);
  EXPECT_EQ(read_at(reader, 20, 0), "old");
  const int writer = open(a("f").c_str(), O_WRONLY);
  ASSERT_EQ(pwrite(writer, "newer", 5, 0), 5);
  EXPECT_TRUE(eventually([&] { return read_at(reader, 20, 0) == "newer"; }));
  close(writer);
  close(reader);
}

TEST_F(Coherence, C4_appends_of_two_mounts_are_all_there) {
  mount();
  write_file(a("log"), "");
  constexpr int kLines = 1000;
  auto append = [&](const std::string& path, char letter) {
    const int fd = open(path.c_str(), O_WRONLY | O_APPEND);
    for (int i = 0; i < kLines; ++i) {
      const std::string line = std::string(static_cast<std::size_t>(1 + i % 50), letter) + "\n";
      ASSERT_EQ(write(fd, line.data(), line.size()), static_cast<ssize_t>(line.size()));
    }
    close(fd);
  };
  std::thread other([&] { append(a("log"), 'a'); });
  append(b("log"), 'b');
  other.join();
  for (const std::string& text : {read_file(a("log")), read_file(b("log"))}) {
    std::map<char, int> lines;
    std::map<char, std::size_t> letters;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      ASSERT_NE(end, std::string::npos);
      ASSERT_EQ(text.substr(at, end - at), std::string(end - at, text[at])) << "torn at " << at;
      ++lines[text[at]];
      letters[text[at]] += end - at;
      at = end + 1;
    }
    EXPECT_EQ(lines['a'], kLines);
    EXPECT_EQ(lines['b'], kLines);
    EXPECT_EQ(letters['a'], letters['b']);
  }
}

TEST_F(Coherence, C4_size_and_offset_are_right_after_anothers_append) {
  mount();
  write_file(a("log"), "a");
  const int mine = open(b("log").c_str(), O_RDWR | O_APPEND);
  write_file(a("log"), "aaa", O_APPEND);
  ASSERT_EQ(write(mine, "b", 1), 1);
  EXPECT_EQ(lseek(mine, 0, SEEK_END), 5);
  EXPECT_EQ(stat_of(b("log")).st_size, 5);
  EXPECT_EQ(read_at(mine, 10, 0), "aaaab");
  close(mine);
  EXPECT_EQ(read_file(a("log")), "aaaab");
}

TEST_F(Coherence, C5_shared_mappings_after_msync_and_a_new_open) {
  mount();
  write_file(a("f"), std::string(8192, '.'));
  EXPECT_EQ(read_file(b("f")).substr(0, 3), "...");
  const int fd = open(a("f").c_str(), O_RDWR);
  char* map = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(map, MAP_FAILED);
  memcpy(map + 5000, "mapped", 6);
  ASSERT_EQ(errno_of(msync(map, 8192, MS_SYNC)), 0);
  const int other = open(b("f").c_str(), O_RDWR);
  const char* seen = static_cast<const char*>(mmap(nullptr, 8192, PROT_READ, MAP_SHARED, other, 0));
  ASSERT_NE(seen, MAP_FAILED);
  EXPECT_EQ(std::string(seen + 5000, 6), "mapped");
  munmap(const_cast<char*>(seen), 8192);
  munmap(map, 8192);
  close(other);
  close(fd);
  const int appender = open(a("f").c_str(), O_RDWR | O_APPEND);
  EXPECT_EQ(mmap(nullptr, 8192, PROT_READ, MAP_SHARED, appender, 0), MAP_FAILED);
  EXPECT_EQ(errno, ENODEV);
  close(appender);
}

TEST_F(Coherence, C6_direct_reads_see_every_write) {
  mount();
  const int writer = open(a("f").c_str(), O_WRONLY | O_CREAT, 0644);
  const int reader = open(b("f").c_str(), O_RDONLY | O_DIRECT);
  for (char letter = 'a'; letter < 'k'; ++letter) {
    const std::string text(4096, letter);
    ASSERT_EQ(pwrite(writer, text.data(), text.size(), (letter - 'a') * 4096), 4096);
    EXPECT_EQ(read_at(reader, 4096, (letter - 'a') * 4096), text);
  }
  close(reader);
  close(writer);
}

TEST_F(Coherence, C7_attributes_and_names_are_a_second_old_at_most) {
  mount(std::chrono::seconds(1));
  write_file(a("f"), "x");
  write_file(a("gone"), "x");
  EXPECT_EQ(stat_of(b("f")).st_mode & 0777, 0644U);
  EXPECT_EQ(errno_of(access(b("gone").c_str(), F_OK)), 0);
  chmod(a("f").c_str(), 0600);
  unlink(a("gone").c_str());
  usleep(1'200'000);
  EXPECT_EQ(stat_of(b("f")).st_mode & 0777, 0600U);
  EXPECT_EQ(errno_of(access(b("gone").c_str(), F_OK)), ENOENT);
}

TEST_F(Coherence, C7_a_directory_shows_own_changes_at_once_without_a_question) {
  mount();
  ASSERT_EQ(errno_of(mkdir(a("d").c_str(), 0755)), 0);
  const int asked = counter->calls[OpKind::kGetattr];
  timespec last = stat_of(a("d")).st_mtim;
  const auto expect_newer = [&](const char* what) {
    const struct stat now = stat_of(a("d"));
    EXPECT_GT(std::pair(now.st_mtim.tv_sec, now.st_mtim.tv_nsec), std::pair(last.tv_sec, last.tv_nsec))
        << what;
    EXPECT_EQ(now.st_mtim.tv_nsec, now.st_ctim.tv_nsec);
    last = now.st_mtim;
  };
  const int fd = open(a("d/f").c_str(), O_WRONLY | O_CREAT, 0644);
  expect_newer("create");
  close(fd);
  ASSERT_EQ(errno_of(rename(a("d/f").c_str(), a("d/g").c_str())), 0);
  expect_newer("rename");
  ASSERT_EQ(errno_of(symlink("x", a("d/s").c_str())), 0);
  expect_newer("symlink");
  ASSERT_EQ(errno_of(unlink(a("d/g").c_str())), 0);
  expect_newer("unlink");
  EXPECT_EQ(counter->calls[OpKind::kGetattr], asked) << "they came with the answers";
  // What was told is not older than what is done: a mode set in between stays.
  ASSERT_EQ(errno_of(chmod(a("d").c_str(), 0700)), 0);
  EXPECT_EQ(stat_of(a("d")).st_mode & 07777, 0700U);
  EXPECT_EQ(errno_of(mkdir(a("d/s").c_str(), 0755)), EEXIST);
  EXPECT_EQ(stat_of(a("d")).st_mode & 07777, 0700U);
}

TEST_F(Coherence, C7_what_came_with_a_change_is_believed_no_longer_than_asked_for) {
  mount(std::chrono::seconds(1), true);
  ASSERT_EQ(errno_of(mkdir(a("d").c_str(), 0755)), 0);
  write_file(a("d/f"), "x");  // A has the directory's attributes, and nobody has asked for them yet
  ASSERT_EQ(errno_of(chmod(b("d").c_str(), 0711)), 0);
  EXPECT_TRUE(eventually([&] { return (stat_of(a("d")).st_mode & 07777) == 0711; }));
}

TEST_F(Coherence, C7_invalidations_make_it_prompt) {
  mount(kForEver, true);
  write_file(a("f"), "x");
  write_file(a("gone"), "x");
  EXPECT_EQ(stat_of(b("f")).st_mode & 0777, 0644U);
  EXPECT_EQ(errno_of(access(b("gone").c_str(), F_OK)), 0);
  chmod(a("f").c_str(), 0600);
  unlink(a("gone").c_str());
  EXPECT_TRUE(eventually([&] { return (stat_of(b("f")).st_mode & 0777) == 0600; }));
  EXPECT_TRUE(eventually([&] { return access(b("gone").c_str(), F_OK) != 0; }));
  EXPECT_GT(volume->stats(1).invalidations, 0U);
}

TEST_F(Coherence, C7_open_takes_size_and_times_of_the_moment) {
  mount();
  write_file(a("f"), "x");
  EXPECT_EQ(stat_of(b("f")).st_size, 1);
  write_file(a("f"), "longer now");
  const int fd = open(b("f").c_str(), O_RDONLY);
  struct stat st{};
  ASSERT_EQ(errno_of(fstat(fd, &st)), 0);
  EXPECT_EQ(st.st_size, 10);
  EXPECT_EQ(st.st_mtim.tv_nsec, stat_of(a("f")).st_mtim.tv_nsec);
  close(fd);
}

TEST_F(Coherence, C8_a_new_name_is_found_at_once) {
  mount();
  for (int i = 0; i < 20; ++i) {
    const std::string name = "new" + std::to_string(i);
    EXPECT_EQ(errno_of(access(b(name).c_str(), F_OK)), ENOENT);
    write_file(a(name), "x");
    EXPECT_EQ(errno_of(access(b(name).c_str(), F_OK)), 0);
  }
}

TEST_F(Coherence, C9_a_replaced_file_is_found_at_once) {
  mount();
  write_file(a("f"), "old");
  EXPECT_EQ(read_file(b("f")), "old");
  write_file(a("f.new"), "new");
  ASSERT_EQ(errno_of(rename(a("f.new").c_str(), a("f").c_str())), 0);
  EXPECT_EQ(read_file(b("f")), "new");
}

TEST_F(Coherence, C9_also_while_the_other_mount_holds_the_old_one_open) {
  mount();
  write_file(a("f"), "old");
  const int old_file = open(a("f").c_str(), O_RDONLY);
  EXPECT_EQ(read_file(b("f")), "old");
  write_file(a("f.new"), "new");
  ASSERT_EQ(errno_of(rename(a("f.new").c_str(), a("f").c_str())), 0);
  EXPECT_EQ(read_file(b("f")), "new");
  EXPECT_EQ(read_at(old_file, 10, 0), "old");
  close(old_file);
}

TEST_F(Coherence, C10_attributes_are_the_same_everywhere) {
  mount();
  mkdir(a("d").c_str(), 0755);
  write_file(a("d/f"), "x");
  for (const char* name : {"", "d", "d/f"}) {
    const struct stat here = stat_of(a(name)), there = stat_of(b(name));
    EXPECT_EQ(here.st_ino, there.st_ino) << name;
    EXPECT_EQ(here.st_mode, there.st_mode) << name;
    EXPECT_EQ(here.st_nlink, there.st_nlink) << name;
    EXPECT_EQ(here.st_ctim.tv_sec, there.st_ctim.tv_sec) << name;
    EXPECT_EQ(here.st_ctim.tv_nsec, there.st_ctim.tv_nsec) << name;
    EXPECT_EQ(here.st_mtim.tv_nsec, there.st_mtim.tv_nsec) << name;
  }
}

// The kernel marks what it takes for removed. B's is wrong: A has moved that directory away.
TEST_F(Coherence, C9_a_directory_that_was_moved_away_is_not_dead_where_its_old_name_is_replaced) {
  mount(kForEver);
  mkdir(a("d").c_str(), 0755);
  write_file(a("d/f"), "x");
  mkdir(b("other").c_str(), 0755);
  const int held =
      open(b("d").c_str(), O_RDONLY | O_DIRECTORY);  // or the kernel would forget it at once, and its mark
  ASSERT_EQ(errno_of(rename(a("d").c_str(), a("moved").c_str())), 0);
  ASSERT_EQ(errno_of(rename(b("other").c_str(), b("d").c_str())), 0);
  EXPECT_EQ(errno_of(mkdir(b("moved/new").c_str(), 0755)), 0);
  EXPECT_EQ(names_in(b("moved")), (std::set<std::string>{"f", "new"}));
  EXPECT_TRUE(names_in(b("d")).empty());
  close(held);
}

TEST_F(Coherence, C9_a_directory_that_was_moved_away_is_not_dead_where_its_old_name_is_removed) {
  mount(kForEver);
  mkdir(a("d").c_str(), 0755);
  write_file(a("d/f"), "x");
  const int held =
      open(b("d").c_str(), O_RDONLY | O_DIRECTORY);  // or the kernel would forget it at once, and its mark
  ASSERT_EQ(errno_of(rename(a("d").c_str(), a("moved").c_str())), 0);
  ASSERT_EQ(errno_of(mkdir(a("d").c_str(), 0755)), 0);
  ASSERT_EQ(errno_of(rmdir(b("d").c_str())), 0);
  EXPECT_EQ(errno_of(mkdir(b("moved/new").c_str(), 0755)), 0);
  EXPECT_EQ(names_in(b("moved")), (std::set<std::string>{"f", "new"}));
  close(held);
}

// B moves it itself, so its belief is right, and the directory keeps its node: a process may be in it.
TEST_F(Coherence, C9_a_directory_keeps_its_identity_over_own_moves) {
  mount(kForEver);
  mkdir(b("d").c_str(), 0755);
  mkdir(b("e").c_str(), 0755);
  const int inside = open(b("d").c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(errno_of(rename(b("d").c_str(), b("moved").c_str())), 0);
  ASSERT_EQ(errno_of(rename(b("e").c_str(), b("d").c_str())), 0);
  ASSERT_EQ(errno_of(rmdir(b("d").c_str())), 0);
  ASSERT_EQ(errno_of(mkdirat(inside, "new", 0755)), 0);
  EXPECT_EQ(names_in(b("moved")), (std::set<std::string>{"new"}));
  close(inside);
}

TEST_F(Coherence, C11_a_file_unlinked_elsewhere_lives_while_it_is_open) {
  mount(kForEver, true);
  write_file(a("f"), "still here");
  const int fd = open(b("f").c_str(), O_RDWR);
  ASSERT_EQ(errno_of(unlink(a("f").c_str())), 0);
  EXPECT_TRUE(eventually([&] { return access(b("f").c_str(), F_OK) != 0; }));
  EXPECT_EQ(read_at(fd, 20, 0), "still here");
  EXPECT_EQ(pwrite(fd, "S", 1, 0), 1);
  EXPECT_EQ(read_at(fd, 20, 0), "Still here");
  close(fd);
}

TEST_F(Coherence, C12_a_listing_while_another_mount_changes_the_directory) {
  mount();
  mkdir(a("d").c_str(), 0755);
  for (int i = 0; i < 1000; ++i) write_file(a("d/stay" + std::to_string(i)), "");
  std::atomic<bool> stop = false;
  std::thread changes([&] {
    for (int i = 0; !stop; ++i) {
      const std::string name = "d/moving" + std::to_string(i % 100);
      mknod(a(name).c_str(), S_IFREG | 0644, 0);
      unlink(a(name).c_str());
    }
  });
  for (int round = 0; round < 5; ++round) {
    std::map<std::string, int> seen;
    DIR* stream = opendir(b("d").c_str());
    while (const dirent* entry = readdir(stream)) ++seen[entry->d_name];
    closedir(stream);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen["stay" + std::to_string(i)], 1) << i;
  }
  stop = true;
  changes.join();
}

TEST_F(Coherence, C13_what_has_no_xattrs_is_not_asked_for_them) {
  mount();
  write_file(a("f"), "x");
  ASSERT_TRUE(S_ISREG(stat_of(a("f")).st_mode));
  char value[16];
  const int asked = counter->calls[OpKind::kGetxattr] + counter->calls[OpKind::kListxattr];
  EXPECT_EQ(errno_of(getxattr(a("f").c_str(), "user.k", value, sizeof value)), ENODATA);
  EXPECT_EQ(errno_of(getxattr(a("f").c_str(), "system.posix_acl_access", value, sizeof value)), ENODATA);
  EXPECT_EQ(listxattr(a("f").c_str(), value, sizeof value), 0);
  EXPECT_EQ(counter->calls[OpKind::kGetxattr] + counter->calls[OpKind::kListxattr], asked);
  // What this mount sets it sees at once, also when older attributes come back meanwhile.
  ASSERT_EQ(errno_of(setxattr(a("f").c_str(), "user.k", "v", 1, 0)), 0);
  EXPECT_EQ(getxattr(a("f").c_str(), "user.k", value, sizeof value), 1);
  EXPECT_EQ(listxattr(a("f").c_str(), value, sizeof value), 7);
}

TEST_F(Coherence, C13_xattrs_of_another_mount_are_seen_as_attributes_are) {
  mount(std::chrono::seconds(1));
  write_file(a("f"), "x");
  char value[16];
  EXPECT_EQ(errno_of(getxattr(b("f").c_str(), "user.k", value, sizeof value)), ENODATA);
  ASSERT_EQ(errno_of(setxattr(a("f").c_str(), "user.k", "v", 1, 0)), 0);
  usleep(1'200'000);
  EXPECT_EQ(getxattr(b("f").c_str(), "user.k", value, sizeof value), 1);
}

TEST_F(Coherence, C13_permissions_come_from_the_volume) {
  mount(std::chrono::seconds(1));
  chmod(a("").c_str(), 0755);
  write_file(a("f"), "x");
  chmod(a("f").c_str(), 0600);
  auto reads = [&] { return open(b("f").c_str(), O_RDONLY) >= 0 ? 0 : errno; };
  EXPECT_EQ(in_child(reads, 1001), EACCES);
  ASSERT_EQ(errno_of(chown(a("f").c_str(), 1001, 1001)), 0);
  usleep(1'200'000);
  EXPECT_EQ(in_child(reads, 1001), 0);
  EXPECT_EQ(in_child(reads, 1002), EACCES);
}

}  // namespace
}  // namespace polder
