// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/askers.h"

#include <gtest/gtest.h>

#include <optional>

namespace polder {
namespace {

TEST(Askers, AreManyWhenMoreThreadsWaitThanTwoForEachCpu) {
  Askers askers(1);
  std::optional<Askers::Waiting> first, second, third;
  first.emplace(askers, 11);
  second.emplace(askers, 12);
  EXPECT_FALSE(askers.are_many());
  third.emplace(askers, 13);
  EXPECT_TRUE(askers.are_many());
  second.reset();
  EXPECT_FALSE(askers.are_many());
}

TEST(Askers, ReadAheadIsOneThreads) {
  Askers askers(1);
  std::optional<Askers::Waiting> requests[8];
  for (auto& request : requests) request.emplace(askers, 11);
  EXPECT_FALSE(askers.are_many());
  Askers::Waiting second(askers, 12);
  EXPECT_FALSE(askers.are_many());
  Askers::Waiting third(askers, 13);
  EXPECT_TRUE(askers.are_many());
  for (int i = 0; i < 7; ++i) requests[i].reset();
  EXPECT_TRUE(askers.are_many()) << "it still waits for the last one";
  requests[7].reset();
  EXPECT_FALSE(askers.are_many());
}

}  // namespace
}  // namespace polder
