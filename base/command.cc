// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace polder {

namespace {

constexpr std::size_t kMaxOutput_bytes = 16u << 20;
constexpr auto kLockPause = std::chrono::milliseconds(50);

// The lock file of own_commands(), empty; -1: none. Programs get it as their standard input: so it is theirs
// until they end, and those that close all but the first three descriptors keep it.
std::atomic<int> command_lock{-1};
std::mutex command_lock_mutex;

struct Pipe {
  int read_end = -1;
  int write_end = -1;
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  ~Pipe() { close_both(); }
  Result<void> open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return Error(errno);
    read_end = ends[0];
    write_end = ends[1];
    return {};
  }
  void close_end(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
  void close_both() {
    close_end(read_end);
    close_end(write_end);
  }
};

std::string command_line(const std::vector<std::string>& argv) {
  std::string text;
  for (const auto& word : argv) text += (text.empty() ? "" : " ") + word;
  return text;
}

Result<pid_t> spawn(const std::vector<std::string>& argv, const Pipe& out, const Pipe& err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (const int lock = command_lock.load(); lock >= 0)
    posix_spawn_file_actions_adddup2(&actions, lock, 0);
  else
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write_end, 1);
  posix_spawn_file_actions_adddup2(&actions, err.write_end, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);

  std::vector<char*> arguments;
  for (const auto& word : argv) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::string locale = "LC_ALL=C";
  std::vector<char*> environment;
  for (char** variable = environ; *variable; ++variable) {
    if (std::strncmp(*variable, "LC_ALL=", 7) != 0) environment.push_back(*variable);
  }
  environment.push_back(locale.data());
  environment.push_back(nullptr);

  pid_t pid = 0;
  const int error = posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Error(error).with("run {}", argv[0]);
  return pid;
}

/// Collects both streams until the program closed them. ETIMEDOUT past the limit.
Result<void> collect(Pipe& out, Pipe& err, CommandOutput& output, std::chrono::seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::array<char, 16384> chunk;
  while (out.read_end >= 0 || err.read_end >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Error(ETIMEDOUT);
    pollfd waits[2] = {{out.read_end, POLLIN, 0}, {err.read_end, POLLIN, 0}};  // a negative fd is skipped
    if (poll(waits, 2, static_cast<int>(left.count())) < 0 && errno != EINTR) return Error(errno);
    for (auto [pipe, revents, text] :
         {std::tuple(&out, waits[0].revents, &output.out), std::tuple(&err, waits[1].revents, &output.err)}) {
      if (pipe->read_end < 0 || revents == 0) continue;
      const auto got = ::read(pipe->read_end, chunk.data(), chunk.size());
      if (got <= 0 && errno != EINTR) pipe->close_end(pipe->read_end);
      if (got > 0 && text->size() < kMaxOutput_bytes)
        text->append(chunk.data(), static_cast<std::size_t>(got));
    }
  }
  return {};
}

}  // namespace

Result<CommandOutput> run_command(const std::vector<std::string>& argv, std::chrono::seconds limit) {
  Pipe out, err;
  TRY(out.open());
  TRY(err.open());
  TRY(const pid_t pid, spawn(argv, out, err));
  out.close_end(out.write_end);
  err.close_end(err.write_end);

  CommandOutput output;
  auto collected = collect(out, err, output, limit);
  if (!collected) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!collected) return std::move(collected.error()).with("run {}", command_line(argv));
  output.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return output;
}

Result<std::string> run_command_checked(const std::vector<std::string>& argv, std::chrono::seconds limit) {
  TRY(auto output, run_command(argv, limit));
  if (output.status == 0) return std::move(output.out);
  while (output.err.ends_with('\n')) output.err.pop_back();
  return Error(EIO).with("'{}' failed with status {}: {}", command_line(argv), output.status, output.err);
}

Result<void> own_commands(const std::string& path, std::chrono::seconds limit) {
  std::lock_guard one_at_a_time(command_lock_mutex);
  if (command_lock.load() >= 0) return {};
  const int file = ::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return Error(errno).with("open {}", path);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error != EWOULDBLOCK || std::chrono::steady_clock::now() >= deadline) {
      ::close(file);
      if (error != EWOULDBLOCK) return Error(error).with("lock {}", path);
      return Error(EBUSY).with("a program that was started by a killed daemon still runs (fuser {})", path);
    }
    std::this_thread::sleep_for(kLockPause);
  }
  command_lock = file;
  return {};
}

}  // namespace polder
