// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/leases/lease_table.h"

#include <gtest/gtest.h>

#include "tests/support/loop.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid kFile{{0, 0, 7}};
const Gfid kOther{{0, 0, 8}};

class Holder : public LeaseHolder {
 public:
  explicit Holder(Clock& clock) : clock_(clock) { heard(); }
  void recall(std::span<const Gfid> gfids, std::uint64_t number) override {
    ++messages;
    recalls.insert(recalls.end(), gfids.begin(), gfids.end());
    last = number;
  }
  nanoseconds heard_at() const override { return heard_at_; }
  void heard() { heard_at_ = clock_.boot_time(); }

  int messages = 0;
  std::vector<Gfid> recalls;
  std::uint64_t last = 0;

 private:
  Clock& clock_;
  nanoseconds heard_at_{};
};

class LeaseTableTest : public testing::Test {
 protected:
  SimLoop loop;
  LeaseOptions options{.leases_per_session_max = 3};
  LeaseTable table{loop.clock(), options};
  Holder one{loop.clock()}, two{loop.clock()};

  LeaseTableTest() {
    loop.run_for(10s);
    one.heard();
    two.heard();
    table.attached(1, one);
    table.attached(2, two);
  }
  RunningChange change(std::uint32_t session, Gfid gfid) {
    RunningChange change;
    change.session = session;
    change.gfids.push_back(gfid);
    return change;
  }
  void run(std::uint32_t session, Gfid gfid) {
    auto whole = change(session, gfid);
    table.begin(whole);
    table.end(whole);
  }
  bool grant(std::uint32_t session, Gfid gfid) { return table.grant(session, gfid, table.mark()); }
};

TEST_F(LeaseTableTest, GrantsWhatNobodyChanges) {
  EXPECT_TRUE(grant(1, kFile));
  EXPECT_TRUE(grant(1, kFile));
  EXPECT_TRUE(grant(2, kFile));
  EXPECT_EQ(table.numbers().leases, 2u);
  EXPECT_FALSE(grant(3, kFile)) << "nobody knows session 3";
  EXPECT_FALSE(grant(1, Gfid{}));
}

TEST_F(LeaseTableTest, AChangeBySomebodyElseWhileTheQuestionWasUnderWayGrantsNothing) {
  const auto mark = table.mark();
  auto running = change(2, kFile);
  table.begin(running);
  EXPECT_FALSE(table.grant(1, kFile, mark));
  EXPECT_TRUE(table.grant(1, kOther, mark));
  EXPECT_TRUE(table.grant(2, kFile, mark)) << "its own change";
  table.end(running);
  EXPECT_FALSE(table.grant(1, kFile, mark));
  EXPECT_TRUE(grant(1, kFile));
}

TEST_F(LeaseTableTest, AnAnswerThatTookLongerThanIsRememberedGrantsNothing) {
  const auto mark = table.mark();
  for (int i = 0; i < 1024; ++i) run(1, kOther);
  EXPECT_TRUE(table.grant(1, kFile, mark));
  run(1, kOther);
  EXPECT_FALSE(table.grant(1, kOther, mark));
}

TEST_F(LeaseTableTest, AChangeOfAnOlderConnectionIsSomebodyElses) {
  auto running = change(1, kFile);
  table.begin(running);
  EXPECT_TRUE(grant(1, kFile));
  table.attached(1, one);
  const auto mark = table.mark();
  EXPECT_FALSE(table.grant(1, kFile, mark));
  table.end(running);
  EXPECT_FALSE(table.grant(1, kFile, mark));
  EXPECT_TRUE(grant(1, kFile));
}

TEST_F(LeaseTableTest, NothingIsGrantedWhileNobodyKnowsWhatAChangeTouches) {
  auto running = change(2, kOther);
  running.everything = true;
  table.begin(running);
  EXPECT_FALSE(grant(1, kFile));
  running.everything = false;
  EXPECT_TRUE(grant(1, kFile));
  table.end(running);
}

TEST_F(LeaseTableTest, AChangeWaitsForTheAnswersOfOthersOnly) {
  grant(1, kFile);
  grant(2, kFile);
  grant(2, kOther);
  auto running = change(1, kFile);
  table.begin(running);
  table.recall(running);
  EXPECT_TRUE(one.recalls.empty());
  ASSERT_EQ(two.recalls, std::vector{kFile});
  ASSERT_TRUE(table.must_wait(running));
  table.answered(2, two.last - 1);  // to an earlier one
  ASSERT_TRUE(table.must_wait(running));
  table.answered(2, two.last);
  EXPECT_FALSE(table.must_wait(running));
  table.end(running);
  EXPECT_EQ(table.numbers().leases, 2u);
  EXPECT_EQ(table.numbers().unanswered, 0u);
}

TEST_F(LeaseTableTest, TwoChangesRecallALeaseOnce) {
  grant(2, kFile);
  auto first = change(1, kFile), second = change(0, kFile);
  table.begin(first);
  table.begin(second);
  table.recall(first);
  table.recall(second);
  EXPECT_EQ(two.recalls.size(), 1u);
  EXPECT_TRUE(table.must_wait(first));
  EXPECT_TRUE(table.must_wait(second));
  table.answered(2, two.last);
  EXPECT_FALSE(table.must_wait(first));
  EXPECT_FALSE(table.must_wait(second));
  table.end(first);
  table.end(second);
}

TEST_F(LeaseTableTest, WhoDoesNotAnswerIsWaitedForUntilItsLeaseEndsByTime) {
  grant(2, kFile);
  two.heard();
  loop.run_for(600ms);
  auto running = change(1, kFile);
  table.begin(running);
  table.recall(running);
  auto until = table.must_wait(running);
  ASSERT_TRUE(until);
  EXPECT_EQ(*until - loop.clock().boot_time(), 500ms);
  two.heard();  // what it is answered now comes after the recall, and prolongs nothing
  loop.run_for(500ms);
  EXPECT_FALSE(table.must_wait(running));
  EXPECT_EQ(table.numbers().unanswered, 1u);
  table.end(running);
}

TEST_F(LeaseTableTest, WhoHasBeenSilentIsToldAndNotWaitedFor) {
  grant(2, kFile);
  loop.run_for(1100ms);
  auto running = change(1, kFile);
  table.begin(running);
  table.recall(running);
  EXPECT_EQ(two.recalls.size(), 1u) << "it may revive its leases by its next request";
  EXPECT_FALSE(table.must_wait(running));
  table.end(running);
}

TEST_F(LeaseTableTest, WithoutAConnectionTimeEndsALeaseOrTheNextConnection) {
  grant(2, kFile);
  table.detached(2);
  EXPECT_FALSE(grant(2, kOther));
  auto running = change(1, kFile);
  table.begin(running);
  table.recall(running);
  EXPECT_TRUE(two.recalls.empty());
  EXPECT_TRUE(table.must_wait(running));
  table.attached(2, two);
  EXPECT_FALSE(table.must_wait(running));
  table.end(running);
}

TEST_F(LeaseTableTest, AForgottenSessionsLeasesEndByTimeThoseOfOneThatLeftAtOnce) {
  grant(1, kFile);
  grant(2, kFile);
  table.left(1);
  table.forgotten(1);
  table.forgotten(2);
  auto running = change(0, kFile);
  table.begin(running);
  table.recall(running);
  ASSERT_TRUE(table.must_wait(running));
  EXPECT_EQ(table.numbers().leases, 1u);
  loop.run_for(1100ms);
  EXPECT_FALSE(table.must_wait(running));
  table.end(running);
}

TEST_F(LeaseTableTest, NoLeaseSoonAfterARecall) {
  grant(2, kFile);
  auto running = change(1, kFile);
  table.begin(running);
  table.recall(running);
  table.answered(2, two.last);
  table.end(running);
  EXPECT_FALSE(grant(2, kFile));
  EXPECT_TRUE(grant(2, kOther));
  loop.run_for(100ms);
  EXPECT_TRUE(grant(2, kFile));
}

TEST_F(LeaseTableTest, TheOldestMakeRoomWhenTheyHaveBeenGivenBack) {
  for (std::uint8_t i = 1; i <= 3; ++i) ASSERT_TRUE(grant(1, Gfid{{1, i}}));
  EXPECT_FALSE(grant(1, kFile));
  EXPECT_EQ(one.recalls.size(), 3u);
  EXPECT_FALSE(grant(1, kFile));
  EXPECT_EQ(one.recalls.size(), 3u) << "not asked for twice";
  EXPECT_FALSE(grant(1, Gfid{{1, 1}})) << "it has been told to give it back";
  table.answered(1, one.last);
  EXPECT_TRUE(grant(1, kFile));
  EXPECT_TRUE(grant(2, kFile));
}

TEST_F(LeaseTableTest, TheOldestAreRecalledWithOneMessageThoseThatWereAskedForAgainLast) {
  for (std::uint8_t i = 1; i <= 3; ++i) ASSERT_TRUE(grant(1, Gfid{{1, i}}));
  ASSERT_TRUE(grant(1, Gfid{{1, 1}}));
  EXPECT_FALSE(grant(1, kFile));
  EXPECT_EQ(one.messages, 1);
  EXPECT_EQ(one.recalls, (std::vector{Gfid{{1, 2}}, Gfid{{1, 3}}, Gfid{{1, 1}}}));
  EXPECT_EQ(table.numbers().recalls, 3u);
  table.answered(1, one.last);
  EXPECT_EQ(table.numbers().leases, 0u);
}

TEST_F(LeaseTableTest, ChangesThatNobodyAskedForAreToldLate) {
  grant(1, kFile);
  const auto mark = table.mark();
  table.changed(kFile, 0);
  EXPECT_EQ(one.recalls.size(), 1u);
  EXPECT_FALSE(table.grant(2, kFile, mark));
  EXPECT_TRUE(grant(2, kFile));
  grant(2, kOther);
  table.changed(Gfid{}, 0);
  ASSERT_EQ(two.recalls.size(), 1u);
  EXPECT_TRUE(two.recalls[0].is_nil());
}

TEST_F(LeaseTableTest, AChangeOfEverythingWaitsForEverybodyElse) {
  grant(1, kFile);
  grant(2, kFile);
  grant(2, kOther);
  auto running = change(1, Gfid{{9}});
  running.everything = true;
  table.begin(running);
  table.recall(running);
  EXPECT_TRUE(one.recalls.empty());
  ASSERT_EQ(two.recalls.size(), 1u);
  EXPECT_TRUE(two.recalls[0].is_nil());
  EXPECT_TRUE(table.must_wait(running));
  EXPECT_FALSE(grant(2, kOther));
  table.answered(2, two.last);
  EXPECT_FALSE(table.must_wait(running));
  table.end(running);
  EXPECT_EQ(table.numbers().leases, 1u);
}

TEST_F(LeaseTableTest, AfterAStartChangesWaitForSessionsOfBefore) {
  LeaseTable fresh(loop.clock(), options);
  EXPECT_FALSE(fresh.must_wait_for_earlier(1));
  fresh.knew_before(1);
  EXPECT_FALSE(fresh.must_wait_for_earlier(1)) << "nobody else can have leases";
  fresh.knew_before(2);
  ASSERT_TRUE(fresh.must_wait_for_earlier(1));
  EXPECT_EQ(*fresh.must_wait_for_earlier(0) - loop.clock().boot_time(), 1100ms);
  fresh.attached(2, two);
  EXPECT_FALSE(fresh.must_wait_for_earlier(1));
  EXPECT_TRUE(fresh.must_wait_for_earlier(2));
  loop.run_for(1100ms);
  EXPECT_FALSE(fresh.must_wait_for_earlier(2));
}

TEST_F(LeaseTableTest, OthersTakePartWhileTheyHaveLeasesOrWantedOneLately) {
  EXPECT_FALSE(table.others_take_part(1));
  grant(1, kFile);
  EXPECT_FALSE(table.others_take_part(1));
  EXPECT_TRUE(table.others_take_part(2));
  EXPECT_TRUE(table.others_take_part(0));
  table.left(1);
  EXPECT_TRUE(table.others_take_part(2));
  loop.run_for(1101ms);
  EXPECT_FALSE(table.others_take_part(2));
}

TEST_F(LeaseTableTest, OnlyAnEarlierChangeMakesANameBusy) {
  auto first = change(1, kFile), second = change(2, kFile);
  first.names.push_back({kFile, "a"});
  second.names.push_back({kFile, "b"});
  second.names.push_back({kFile, "a"});
  table.begin(first);
  table.begin(second);
  EXPECT_FALSE(table.name_is_busy(first));
  EXPECT_TRUE(table.name_is_busy(second));
  table.end(first);
  EXPECT_FALSE(table.name_is_busy(second));
  table.end(second);
}

}  // namespace
}  // namespace polder
