// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/crc32c.h"

#include <gtest/gtest.h>

namespace polder {
namespace {

TEST(Crc32cTest, KnownValuesAndContinuation) {
  EXPECT_EQ(crc32c(0, as_bytes("123456789")), 0xe3069283u);  // the check value of CRC-32C
  EXPECT_EQ(crc32c(0, as_bytes("")), 0u);
  EXPECT_EQ(crc32c(crc32c(0, as_bytes("1234")), as_bytes("56789")), 0xe3069283u);
}

}  // namespace
}  // namespace polder
