// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/mount/launcher.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

namespace polder {

namespace {

constexpr int kSystemError = 2;  // mount(8)'s exit status

void say(const std::string& sentence) {
  fmt::print(stderr, "mount.polder: {}\n", sentence);
}

void send(int fd, char exit_status, const std::string& sentence) {
  const std::string message = exit_status + sentence;
  // If nobody reads any more, nobody waits for the news.
  [[maybe_unused]] const ssize_t sent = write(fd, message.data(), message.size());
  close(fd);
}

int wait_for_news(int fd, pid_t child) {
  std::string message;
  char piece[512];
  for (ssize_t n; (n = read(fd, piece, sizeof piece)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    message.append(piece, static_cast<std::size_t>(n));
  }
  close(fd);
  if (!message.empty()) {
    if (message.size() > 1) say(message.substr(1));
    return message.front();
  }
  int status = 0;
  waitpid(child, &status, 0);
  say(WIFSIGNALED(status) ? fmt::format("ended by signal {} before it was ready", WTERMSIG(status))
                          : fmt::format("ended with status {} before it was ready", WEXITSTATUS(status)));
  return kSystemError;
}

void leave_terminal() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
  close(null);
}

}  // namespace

void Report::ready() {
  if (fd_ < 0) return;
  leave_terminal();
  send(fd_, 0, {});
  fd_ = -1;
}

int Report::failed(int exit_status, const std::string& sentence) {
  if (fd_ < 0)
    say(sentence);
  else
    send(fd_, static_cast<char>(exit_status), sentence);
  fd_ = -1;
  return exit_status;
}

int launch(bool foreground, const std::function<int(Report&)>& daemon) {
  if (foreground) {
    Report report(-1);
    return daemon(report);
  }
  int news[2];
  if (pipe2(news, O_CLOEXEC) != 0) {
    say(fmt::format("pipe: {}", strerror(errno)));
    return kSystemError;
  }
  const pid_t child = fork();
  if (child < 0) {
    say(fmt::format("fork: {}", strerror(errno)));
    return kSystemError;
  }
  if (child > 0) {
    close(news[1]);
    return wait_for_news(news[0], child);
  }
  close(news[0]);
  setsid();
  if (chdir("/") != 0) say("cannot change to /; the directory it was started in stays in use");
  Report report(news[1]);
  _exit(daemon(report));
}

}  // namespace polder
