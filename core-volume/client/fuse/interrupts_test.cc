// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/interrupts.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace polder {
namespace {

std::string status(std::string_view pending, std::string_view shared, std::string_view caught) {
  return "Name:\tcat\nSigQ:\t0/1\nSigPnd:\t" + std::string(pending) + "\nShdPnd:\t" + std::string(shared) +
         "\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t" + std::string(caught) + "\n";
}

TEST(Interrupts, fatal_is_what_nobody_catches) {
  EXPECT_FALSE(has_fatal_signal(status("0", "0", "0")));
  EXPECT_TRUE(has_fatal_signal(status("0000000000000100", "0", "0"))) << "SIGKILL of the thread";
  EXPECT_TRUE(has_fatal_signal(status("0", "0000000000000002", "0"))) << "SIGINT, default action";
  EXPECT_FALSE(has_fatal_signal(status("0", "0000000000000002", "0000000000000002"))) << "SIGINT, handled";
  EXPECT_FALSE(has_fatal_signal(status("0", "0000000000010000", "0"))) << "SIGCHLD, default: ignored";
  EXPECT_FALSE(has_fatal_signal(status("0", "0000000000080000", "0"))) << "SIGTSTP stops, does not end";
}

TEST(Interrupts, damaged_text_is_not_fatal) {
  EXPECT_FALSE(has_fatal_signal(""));
  EXPECT_FALSE(has_fatal_signal("SigPnd:"));
  EXPECT_FALSE(has_fatal_signal("SigPnd: zz\nShdPnd: "));
}

TEST(Interrupts, reads_what_this_kernel_writes) {
  sigset_t term, before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, &before);
  const pid_t child = fork();
  if (child == 0) {
    // Pending and blocked: survived. Only what is not blocked ends a process.
    raise(SIGTERM);
    std::ostringstream text;
    text << std::ifstream("/proc/self/status").rdbuf();
    const bool blocked_is_survived = !has_fatal_signal(text.view());
    std::string unblocked = text.str();
    const auto at = unblocked.find("SigBlk:");
    unblocked.replace(at, 7, "SigXXX:");
    _exit(blocked_is_survived && has_fatal_signal(unblocked) ? 0 : 1);
  }
  int ended = -1;
  waitpid(child, &ended, 0);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(ended, 0);
}

}  // namespace
}  // namespace polder
