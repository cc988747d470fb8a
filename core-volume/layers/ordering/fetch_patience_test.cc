// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/fetch_patience.h"

#include <gtest/gtest.h>

namespace polder {
namespace {

/// How many are not waited for until one is.
int skipped(FetchPatience& patience) {
  int count = 0;
  while (!patience.wait_now()) ++count;
  return count;
}

TEST(FetchPatience, ADiskThatIsSlowIsWaitedForLessAndLess) {
  FetchPatience patience;
  for (int miss = 1; miss < 4; ++miss) {
    patience.waited(false);
    EXPECT_EQ(skipped(patience), 0) << "some may always be late";
  }
  for (int expected : {64, 128, 256, 512, 1024, 2048, 4096, 4096}) {
    patience.waited(false);
    EXPECT_EQ(skipped(patience), expected);
  }
  patience.waited(true);
  EXPECT_EQ(skipped(patience), 0) << "it is quick again";
  for (int miss = 1; miss < 4; ++miss) patience.waited(false);
  EXPECT_EQ(skipped(patience), 0) << "and the earlier ones are forgotten";
}

}  // namespace
}  // namespace polder
