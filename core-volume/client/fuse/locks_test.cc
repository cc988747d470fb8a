// SPDX-License-Identifier: GPL-3.0-or-later
// docs/coherence.md C14, C17, C18: locks between processes and mounts, signals, the end of a mount.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-volume/client/fuse/test_volume.h"

namespace polder {
namespace {

/// fcntl(2) with a lock of the whole file or of one byte; the errno, 0 when it was granted.
int lock(int fd, int command, short type, off_t start = 0, off_t length = 0) {
  struct flock request{};
  request.l_type = type;
  request.l_whence = SEEK_SET;
  request.l_start = start;
  request.l_len = length;
  return fcntl(fd, command, &request) < 0 ? errno : 0;
}

/// Another process, told what to do through a pipe, answering with one number.
class Process {
 public:
  explicit Process(const std::string& path) {
    EXPECT_EQ(pipe(commands_), 0);
    EXPECT_EQ(pipe(answers_), 0);
    child_ = fork();
    if (child_ == 0) serve(path);
  }
  Process(const Process&) = delete;
  ~Process() { end(); }

  void send(char command) { EXPECT_EQ(write(commands_[1], &command, 1), 1); }
  int answer() {
    int code = -1;
    EXPECT_EQ(read(answers_[0], &code, sizeof code), static_cast<ssize_t>(sizeof code));
    return code;
  }
  int ask(char command) {
    send(command);
    return answer();
  }
  bool answered() {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(answers_[0], &set);
    timeval now{};
    return select(answers_[0] + 1, &set, nullptr, nullptr, &now) == 1;
  }
  void signal(int number) const { kill(child_, number); }
  void end() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = 0;
    for (int fd : {commands_[0], commands_[1], answers_[0], answers_[1]}) close(fd);
  }

 private:
  [[noreturn]] void serve(const std::string& path) {
    struct sigaction handled{};
    handled.sa_handler = [](int) {};
    sigaction(SIGUSR1, &handled, nullptr);  // without SA_RESTART
    int fd = open(path.c_str(), O_RDWR | O_CREAT, 0644);
    int second = open(path.c_str(), O_RDWR);
    for (char command; read(commands_[0], &command, 1) == 1;) {
      int code = 0;
      switch (command) {
        case 'w':
          code = lock(fd, F_SETLK, F_WRLCK);
          break;
        case 'W':
          code = lock(fd, F_SETLKW, F_WRLCK);
          break;
        case 'r':
          code = lock(fd, F_SETLK, F_RDLCK);
          break;
        case '1':
          code = lock(fd, F_SETLK, F_WRLCK, 1, 1);
          break;
        case '2':
          code = lock(fd, F_SETLK, F_WRLCK, 2, 1);
          break;
        case 'u':
          code = lock(fd, F_SETLK, F_UNLCK);
          break;
        case 'o':
          code = lock(fd, F_OFD_SETLK, F_WRLCK);
          break;
        case 'f':
          code = flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno : 0;
          break;
        case 'F':
          code = flock(fd, LOCK_EX) < 0 ? errno : 0;
          break;
        case 's':
          code = flock(fd, LOCK_SH | LOCK_NB) < 0 ? errno : 0;
          break;
        case 'c':
          code = close(std::exchange(fd, open(path.c_str(), O_RDWR)));
          break;
        case 'x':
          code = close(second);
          break;  // any close of the file ends this process's POSIX locks
        default:
          code = -2;
      }
      if (write(answers_[1], &code, sizeof code) != sizeof code) break;
    }
    _exit(0);
  }

  int commands_[2], answers_[2];
  pid_t child_ = 0;
};

class CoherenceLocks : public testing::Test {
 protected:
  CoherenceLocks() : volume({.mounts = 2}) { write_file(volume.path("f"), ""); }
  TestVolume volume;
};

TEST_F(CoherenceLocks, C14_posix_locks_exclude_between_mounts) {
  Process a(volume.path("f", 0)), b(volume.path("f", 1));
  EXPECT_EQ(a.ask('w'), 0);
  EXPECT_EQ(b.ask('w'), EAGAIN);
  EXPECT_EQ(b.ask('r'), EAGAIN);
  EXPECT_EQ(a.ask('r'), 0) << "own lock, downgraded";
  EXPECT_EQ(b.ask('r'), 0);
  EXPECT_EQ(a.ask('w'), EAGAIN);
  EXPECT_EQ(b.ask('u'), 0);
  EXPECT_EQ(a.ask('w'), 0);
  EXPECT_EQ(a.ask('u'), 0);
  EXPECT_EQ(a.ask('1'), 0);
  EXPECT_EQ(b.ask('2'), 0) << "other bytes";
  EXPECT_EQ(b.ask('1'), EAGAIN);
}

TEST_F(CoherenceLocks, C14_the_lock_in_the_way_is_shown) {
  Process a(volume.path("f", 0));
  EXPECT_EQ(a.ask('1'), 0);
  const int fd = open(volume.path("f", 1).c_str(), O_RDWR);
  struct flock question{};
  question.l_type = F_WRLCK;
  ASSERT_EQ(errno_of(fcntl(fd, F_GETLK, &question)), 0);
  EXPECT_EQ(question.l_type, F_WRLCK);
  EXPECT_EQ(question.l_start, 1);
  EXPECT_EQ(question.l_len, 1);
  EXPECT_EQ(a.ask('u'), 0);
  question = {};
  question.l_type = F_WRLCK;
  ASSERT_EQ(errno_of(fcntl(fd, F_GETLK, &question)), 0);
  EXPECT_EQ(question.l_type, F_UNLCK);
  close(fd);
}

TEST_F(CoherenceLocks, C14_waiting_for_a_lock_of_the_other_mount) {
  Process a(volume.path("f", 0)), b(volume.path("f", 1));
  EXPECT_EQ(a.ask('w'), 0);
  b.send('W');
  usleep(100'000);
  EXPECT_FALSE(b.answered());
  EXPECT_EQ(a.ask('u'), 0);
  EXPECT_EQ(b.answer(), 0);
  EXPECT_EQ(a.ask('w'), EAGAIN);
}

TEST_F(CoherenceLocks, C14_any_close_of_the_file_releases_the_processs_posix_locks) {
  Process a(volume.path("f", 0)), b(volume.path("f", 1));
  EXPECT_EQ(a.ask('w'), 0);
  EXPECT_EQ(a.ask('x'), 0);
  EXPECT_EQ(b.ask('w'), 0);
}

TEST_F(CoherenceLocks, C14_the_death_of_a_process_releases_its_locks) {
  for (char kind : {'w', 'o', 'f'}) {
    Process a(volume.path("f", 0)), b(volume.path("f", 1));
    EXPECT_EQ(a.ask(kind), 0);
    EXPECT_EQ(b.ask(kind), EAGAIN) << kind;
    a.end();
    EXPECT_TRUE(eventually([&] { return b.ask(kind) == 0; })) << kind;
  }
}

TEST_F(CoherenceLocks, C14_locks_of_open_file_descriptions_end_with_them) {
  Process a(volume.path("f", 0)), b(volume.path("f", 1));
  EXPECT_EQ(a.ask('o'), 0);
  EXPECT_EQ(b.ask('o'), EAGAIN);
  EXPECT_EQ(b.ask('w'), EAGAIN) << "they and the locks of processes exclude each other";
  EXPECT_EQ(a.ask('x'), 0);
  EXPECT_EQ(b.ask('o'), EAGAIN) << "closing another descriptor does not release it";
  EXPECT_EQ(a.ask('c'), 0);
  EXPECT_TRUE(eventually([&] { return b.ask('o') == 0; }));
}

TEST_F(CoherenceLocks, C14_flock_excludes_between_mounts) {
  Process a(volume.path("f", 0)), b(volume.path("f", 1));
  EXPECT_EQ(a.ask('s'), 0);
  EXPECT_EQ(b.ask('s'), 0);
  EXPECT_EQ(b.ask('f'), EAGAIN);
  EXPECT_EQ(a.ask('c'), 0);
  EXPECT_TRUE(eventually([&] { return b.ask('f') == 0; }));
  a.send('F');
  usleep(100'000);
  EXPECT_FALSE(a.answered());
  EXPECT_EQ(b.ask('c'), 0);
  EXPECT_EQ(a.answer(), 0);
}

TEST_F(CoherenceLocks, C17_a_handled_signal_ends_the_wait_for_a_lock) {
  for (char kind : {'W', 'F'}) {
    Process a(volume.path("f", 0)), b(volume.path("f", 1)), c(volume.path("f", 1));
    EXPECT_EQ(a.ask(kind), 0);
    b.send(kind);
    usleep(100'000);
    b.signal(SIGUSR1);
    EXPECT_EQ(b.answer(), EINTR) << kind;
    a.end();
    EXPECT_EQ(c.ask(kind), 0) << "the interrupted request must not hold or keep its place";
  }
}

}  // namespace
}  // namespace polder
