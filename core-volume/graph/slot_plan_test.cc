// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/slot_plan.h"

#include <gtest/gtest.h>

namespace polder {
namespace {

using Taken = std::map<std::uint32_t, std::vector<bool>>;

Taken nothing_of(std::uint32_t sets) {
  Taken taken;
  for (std::uint32_t set = 0; set < sets; ++set) taken[set].resize(kSlots);
  return taken;
}

TEST(GiveSlots, EachGivesItsPartOfAnEqualShare) {
  auto table = give_slots(even_slots(3), nothing_of(3), 3);
  ASSERT_TRUE(table);
  ASSERT_TRUE(check_slots(*table));
  auto counts = slots_by_set(*table);
  EXPECT_EQ(counts.size(), 4U);
  for (const auto& [set, count] : counts) EXPECT_NEAR(static_cast<double>(count), kSlots / 4.0, 4) << set;
  EXPECT_EQ(table->front().set, 0U) << "the root stays where it is";
}

TEST(GiveSlots, WhatIsTakenStays) {
  auto taken = nothing_of(2);
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    taken[0][slot] = true;
    taken[1][slot] = slot % 2 == 0;
  }
  auto table = give_slots(even_slots(2), taken, 2);
  ASSERT_TRUE(table);
  ASSERT_TRUE(check_slots(*table));
  EXPECT_LT(table->size(), 4200U) << "however cut up, it fits into a record";
  EXPECT_GT(slots_by_set(*table)[2], 1000U);
  for (const auto& run : *table) {
    if (run.set != 2) continue;
    for (std::size_t slot = run.first; slot <= run.last; ++slot) {
      EXPECT_GE(slot, kSlots / 2) << "of the set that has none free";
      EXPECT_FALSE(taken[1][slot]) << slot;
    }
  }
}

TEST(GiveSlots, NothingFreeIsRefused) {
  Taken taken;
  taken[0] = std::vector<bool>(kSlots, true);
  EXPECT_TRUE(give_slots(even_slots(1), taken, 1).failed_with(ENOSPC));
}

TEST(GiveSlots, ManySetsJoinOneAfterTheOther) {
  auto table = even_slots(1);
  for (std::uint32_t newcomer = 1; newcomer < 24; ++newcomer) {
    auto next = give_slots(table, nothing_of(newcomer), newcomer);
    ASSERT_TRUE(next);
    table = *next;
  }
  ASSERT_TRUE(check_slots(table));
  for (const auto& [set, count] : slots_by_set(table)) EXPECT_GT(count, kSlots / 24 - 100) << set;
}

}  // namespace
}  // namespace polder
