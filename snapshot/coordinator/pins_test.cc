// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/coordinator/pins.h"

#include <gtest/gtest.h>

#include "changelog/journal/journal_test_support.h"

namespace polder {
namespace {

class PinsTest : public testing::Test, protected JournalWorld {
 protected:
  static SnapshotRecord snapshot(const std::string& id, std::uint64_t mark_index) {
    SnapshotRecord record;
    record.name = "of " + id;
    record.id = id;
    record.mark_index = mark_index;
    record.log_from = mark_index;
    return record;
  }
  /// A consumer that keeps up, and a sealed segment behind it.
  void go_on() {
    append(10);
    must(journal->sync());
    must(journal->set_cursor("follower", journal->stable_index()));
    must(journal->maintain(true));
  }
};

TEST_F(PinsTest, TheLogStaysFromTheOldestSnapshotOn) {
  open();
  go_on();
  must(pin_log(*journal, snapshot("a", 7)));
  for (int i = 0; i < 4; ++i) go_on();
  EXPECT_LE(journal->first_index(), 8u);
  must(match_pins(*journal, {snapshot("b", 25)}));
  go_on();
  EXPECT_GT(journal->first_index(), 8u);
  EXPECT_LE(journal->first_index(), 26u);
  must(match_pins(*journal, {}));
  go_on();
  EXPECT_GT(journal->first_index(), 26u);
}

TEST_F(PinsTest, MatchingLeavesOthersAlone) {
  open();
  go_on();
  const std::vector<SnapshotRecord> all = {snapshot("a", 3), snapshot("b", 5)};
  must(match_pins(*journal, all));
  must(match_pins(*journal, all));
  auto cursors = must(journal->cursors());
  ASSERT_EQ(cursors.size(), 3u);
  EXPECT_EQ(cursors[0].name, "follower");
  EXPECT_EQ(cursors[1].name, "snapshot/a");
  EXPECT_EQ(cursors[1].index, 3u);
  must(match_pins(*journal, {snapshot("a", 3), snapshot("b", 4)}));
  EXPECT_EQ(must(journal->cursors())[2].index, 4u) << "a restore has made it reach further back";
  EXPECT_TRUE(pin_log(*journal, snapshot("ahead", 1000)).failed_with(EINVAL)) << "not stable";
}

}  // namespace
}  // namespace polder
