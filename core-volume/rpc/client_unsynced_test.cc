// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/client_unsynced.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace polder {
namespace {

Gfid gfid(std::uint8_t number) {
  return Gfid{{1, number}};
}

struct UnsyncedChangesTest : testing::Test {
  bool synced(std::uint8_t file) { return changes.synced(gfid(file), changes.mark()); }
  UnsyncedChanges changes;
};

TEST_F(UnsyncedChangesTest, OnlyWhatMayBeLostFailsAndOnce) {
  changes.file_changed(gfid(1));
  changes.file_changed(gfid(2));
  EXPECT_TRUE(synced(1));
  changes.lose();
  EXPECT_TRUE(synced(1));
  EXPECT_FALSE(synced(2));
  EXPECT_TRUE(synced(2));
}

TEST_F(UnsyncedChangesTest, WhatComesWhileAnFsyncRunsIsNotSyncedByIt) {
  changes.file_changed(gfid(1));
  const auto mark = changes.mark();
  changes.file_changed(gfid(1));
  EXPECT_TRUE(changes.synced(gfid(1), mark));
  changes.lose();
  EXPECT_FALSE(synced(1));
}

TEST_F(UnsyncedChangesTest, NamesAreMadeSafeByAnyFsyncAndFailTheNextOne) {
  changes.names_changed(gfid(1));
  EXPECT_TRUE(synced(9));
  changes.lose();
  EXPECT_TRUE(synced(9));
  EXPECT_TRUE(synced(1));
  changes.names_changed(gfid(1));
  changes.lose();
  EXPECT_FALSE(synced(9));
  EXPECT_TRUE(synced(9));
  EXPECT_FALSE(synced(1)) << "whoever renamed there, and syncs the directory, has to hear of it";
  EXPECT_TRUE(synced(1));
}

TEST_F(UnsyncedChangesTest, ASyncOfEverythingTellsItOnceAndFilesStillTellTheirs) {
  changes.file_changed(gfid(1));
  EXPECT_TRUE(changes.all_synced(changes.mark()));
  changes.lose();
  EXPECT_TRUE(changes.all_synced(changes.mark()));
  changes.file_changed(gfid(1));
  changes.lose();
  EXPECT_FALSE(changes.all_synced(changes.mark()));
  EXPECT_TRUE(changes.all_synced(changes.mark()));
  EXPECT_FALSE(synced(1));
  EXPECT_TRUE(synced(1));
}

TEST_F(UnsyncedChangesTest, OfTooManyFilesTheFirstFsyncFails) {
  auto random = make_seeded_random(1);
  const auto first = Gfid::random(*random, 0);
  changes.file_changed(first);
  for (std::size_t i = 1; i < UnsyncedChanges::kFilesMax; ++i) changes.file_changed(Gfid::random(*random, 0));
  changes.file_changed(gfid(1));
  changes.lose();
  EXPECT_FALSE(synced(1));
  EXPECT_TRUE(synced(1));
  EXPECT_FALSE(changes.synced(first, changes.mark()));
}

TEST_F(UnsyncedChangesTest, ASecondLossOfTheSameChangesTellsNothingNew) {
  changes.file_changed(gfid(1));
  changes.lose();
  changes.lose();
  EXPECT_FALSE(synced(1));
  EXPECT_TRUE(synced(1));
}

}  // namespace
}  // namespace polder
