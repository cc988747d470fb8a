// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/command.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace polder {
namespace {

TEST(CommandTest, GivesOutputErrorAndStatusApart) {
  auto output = run_command({"sh", "-c", "echo to-out; echo to-err >&2; exit 3"});
  ASSERT_TRUE(output) << output.error().message();
  EXPECT_EQ(output->status, 3);
  EXPECT_EQ(output->out, "to-out\n");
  EXPECT_EQ(output->err, "to-err\n");
}

TEST(CommandTest, ArgumentsAreNotAShells) {
  auto output = run_command({"printf", "%s", "$(id); `id` * \"x"});
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out, "$(id); `id` * \"x");
}

TEST(CommandTest, LargeOutputDoesNotBlock) {
  auto output = run_command({"sh", "-c", "head -c 3000000 /dev/zero; head -c 300000 /dev/zero >&2"});
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out.size(), 3'000'000u);
  EXPECT_EQ(output->err.size(), 300'000u);
}

TEST(CommandTest, SaysWhatIsMissingFailedOrTookTooLong) {
  EXPECT_TRUE(run_command({"no-such-program-here"}).failed_with(ENOENT));
  EXPECT_TRUE(run_command({"sleep", "60"}, std::chrono::seconds(1)).failed_with(ETIMEDOUT));
  auto failed = run_command_checked({"sh", "-c", "echo because >&2; exit 1"});
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find("because"), std::string::npos);
  EXPECT_EQ(run_command({"sh", "-c", "kill -9 $$"})->status, 137);
}

/// A process that runs a program in the background and ends without waiting. Returns the program's pid.
pid_t leave_a_program_behind(const std::string& lock) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  const pid_t process = fork();
  if (process == 0) {
    if (!own_commands(lock, std::chrono::seconds(0))) _exit(1);
    auto output = run_command({"sh", "-c", "exec 3<&0; sleep 600 <&3 >/dev/null 2>&1 & echo $!"});
    const pid_t left = output ? static_cast<pid_t>(std::atoi(output->out.c_str())) : -1;
    _exit(write(ends[1], &left, sizeof left) == sizeof left ? 0 : 1);
  }
  close(ends[1]);
  int status = 0;
  waitpid(process, &status, 0);
  pid_t left = -1;
  if (read(ends[0], &left, sizeof left) != sizeof left) left = -1;
  close(ends[0]);
  return left;
}

TEST(CommandTest, ProgramsOfAKilledPredecessorAreWaitedFor) {
  std::string directory = testing::TempDir() + "/polder-commands-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  const auto lock = directory + "/lock";
  const pid_t left = leave_a_program_behind(lock);
  ASSERT_GT(left, 0);
  EXPECT_TRUE(own_commands(lock, std::chrono::seconds(0)).failed_with(EBUSY));
  kill(left, SIGKILL);
  auto owned = own_commands(lock, std::chrono::seconds(60));
  ASSERT_TRUE(owned) << owned.error().message();
  EXPECT_TRUE(own_commands(lock, std::chrono::seconds(0))) << "it has it already";
  EXPECT_EQ(run_command({"cat"})->out, "");
  unlink(lock.c_str());
  rmdir(directory.c_str());
}

}  // namespace
}  // namespace polder
