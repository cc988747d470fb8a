// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/command.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace polder
