// SPDX-License-Identifier: GPL-3.0-or-later
// The check finds what it is for: each kind of loss is planted once.
#include "tests/workload/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace polder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Gfid kRoot = Gfid::root();
const EntryName kA{kRoot, "a"}, kB{kRoot, "b"};
const Gfid kFile{{7}}, kOther{{8}};

class HistoryTest : public testing::Test {
 protected:
  void create(std::size_t client, const EntryName& name, const Gfid& gfid) {
    history_.begin(client);
    history_.names(client, name, gfid);
    history_.changes(client, gfid, {.content = "", .mode = 0644, .xattr = ""});
    history_.end(client);
  }
  void write(std::size_t client, const Gfid& gfid, std::string content) {
    history_.begin(client);
    history_.changes(client, gfid, {.content = std::move(content), .mode = 0644, .xattr = ""});
    history_.end(client);
  }
  void rename(std::size_t client, const EntryName& from, const EntryName& to, const Gfid& gfid) {
    history_.begin(client);
    history_.names(client, from, {});
    history_.names(client, to, gfid);
    history_.moves(client, from, to, gfid);
    history_.end(client);
  }
  void unlink(std::size_t client, const EntryName& name, const Gfid& gfid) {
    history_.begin(client);
    history_.names(client, name, {});
    history_.removes(client, gfid);
    history_.end(client);
  }
  void fsync(std::size_t client, const Gfid& gfid) {
    history_.acknowledged(history_.acknowledge(history_.cover_of_fsync(client, gfid)));
  }
  static FoundVolume with(const EntryName& name, std::string content) {
    return {.names = {{name, kFile}},
            .files = {{kFile, {.content = std::move(content), .mode = 0644, .xattr = ""}}}};
  }

  History history_{2};
};

TEST_F(HistoryTest, WithoutAnFsyncAllOrNothingIsRight) {
  create(0, kA, kFile);
  write(0, kFile, "text");
  EXPECT_THAT(history_.problems({}, 0), IsEmpty());
  EXPECT_THAT(history_.problems(with(kA, ""), 0), IsEmpty());
  EXPECT_THAT(history_.problems(with(kA, "text"), 0), IsEmpty());
  EXPECT_EQ(history_.certain(0), 0U);
}

TEST_F(HistoryTest, WhatWasSyncedIsMissed) {
  create(0, kA, kFile);
  write(0, kFile, "text");
  fsync(0, kFile);
  EXPECT_EQ(history_.certain(1), 2U);
  EXPECT_THAT(history_.problems(with(kA, "text"), 1), IsEmpty());
  EXPECT_THAT(history_.problems({}, 1), ElementsAre(HasSubstr("shows nothing"), HasSubstr("is nowhere")));
  EXPECT_THAT(history_.problems(with(kA, "tex"), 1), ElementsAre(HasSubstr("3 bytes")));
  EXPECT_THAT(history_.problems(with(kA, "tExt"), 1), ElementsAre(HasSubstr("1 from 1 to 2")));
  auto other_mode = with(kA, "text");
  other_mode.files[kFile].mode = 0600;
  EXPECT_THAT(history_.problems(other_mode, 1), ElementsAre(HasSubstr("mode 600")));
  other_mode.files[kFile] = {.content = "text", .mode = 0644, .xattr = "x"};
  EXPECT_THAT(history_.problems(other_mode, 1), ElementsAre(HasSubstr("attribute")));
  EXPECT_THAT(history_.problems({}, 0), IsEmpty()) << "before the fsync was acknowledged";
}

TEST_F(HistoryTest, AnFsyncCoversItsOwnSessionAndItsOwnBytesOnly) {
  create(0, kA, kFile);
  write(0, kFile, "text");
  create(1, kB, kOther);
  fsync(1, kOther);
  FoundVolume found{.names = {{kB, kOther}}, .files = {{kOther, {.content = "", .mode = 0644, .xattr = ""}}}};
  EXPECT_THAT(history_.problems(found, 1), IsEmpty());
  create(0, {kRoot, "c"}, {{9}});
  fsync(0, {{9}});
  EXPECT_THAT(history_.problems(found, 2), testing::SizeIs(4));  // two names, two objects
  found.names[kA] = kFile;
  found.names[{kRoot, "c"}] = {{9}};
  found.files[kFile] = found.files[{{9}}] = found.files[kOther];
  EXPECT_THAT(history_.problems(found, 2), IsEmpty());
}

TEST_F(HistoryTest, WhatARenameLosesOrDoublesIsFound) {
  create(0, kA, kFile);
  fsync(0, kFile);
  rename(0, kA, kB, kFile);
  EXPECT_THAT(history_.problems(with(kA, ""), 1), IsEmpty());
  EXPECT_THAT(history_.problems(with(kB, ""), 1), IsEmpty());
  EXPECT_THAT(history_.problems({}, 1), ElementsAre(HasSubstr("is nowhere")));
  auto both = with(kA, "");
  both.names[kB] = kFile;
  EXPECT_THAT(history_.doubled(both, 1), ElementsAre(HasSubstr("both places")));
  EXPECT_THAT(history_.doubled(with(kB, ""), 1), IsEmpty());
  fsync(0, kFile);
  EXPECT_THAT(history_.problems(with(kA, ""), 2),
              ElementsAre(HasSubstr("shows"), HasSubstr("shows nothing")));
}

TEST_F(HistoryTest, ADirectoryThatWasExchangedMayLeaveItsNameToNobody) {
  const Gfid directory{{9}};
  history_.begin(0);
  history_.names(0, kA, directory);
  history_.end(0);
  history_.acknowledged(history_.acknowledge(history_.cover_of_sync()));
  create(0, kB, kFile);
  history_.begin(0);
  history_.names(0, kA, kFile);
  history_.names(0, kB, directory);
  history_.moves(0, kA, kB, directory);
  history_.moves(0, kB, kA, kFile);
  history_.end(0);
  EXPECT_THAT(history_.problems({.names = {{kB, directory}}, .files = {}}, 1), IsEmpty());
  EXPECT_THAT(history_.problems({}, 1), testing::Not(IsEmpty())) << "the directory was safe";
  fsync(0, kFile);
  EXPECT_THAT(history_.problems({.names = {{kB, directory}}, .files = {}}, 2), testing::Not(IsEmpty()));
}

TEST_F(HistoryTest, WhatWasRemovedForCertainDoesNotComeBack) {
  create(0, kA, kFile);
  fsync(0, kFile);
  unlink(0, kA, kFile);
  EXPECT_THAT(history_.problems(with(kA, ""), 1), IsEmpty());
  EXPECT_THAT(history_.problems({}, 1), IsEmpty());
  create(0, kB, kOther);
  fsync(0, kOther);
  auto found = with(kA, "");
  found.names[kB] = kOther;
  EXPECT_THAT(history_.problems(found, 2), ElementsAre(HasSubstr("instead of nothing")));
}

TEST_F(HistoryTest, WhatNobodyMadeIsInvented) {
  create(0, kA, kFile);
  fsync(0, kFile);
  auto found = with(kA, "");
  found.names[kB] = kOther;
  found.files[kOther] = {};
  EXPECT_THAT(history_.problems(found, 1), ElementsAre(HasSubstr("nobody made"), HasSubstr("by nobody")));
  create(0, kB, kOther);
  history_.acknowledged(history_.acknowledge(history_.cover_of_sync()));
  EXPECT_THAT(history_.problems(found, 0), testing::Not(IsEmpty())) << "it was made after that power loss";
}

TEST_F(HistoryTest, OverwrittenBytesAreOldOrNew) {
  create(0, kA, kFile);
  write(0, kFile, "aaaa");
  fsync(0, kFile);
  write(0, kFile, "abba");
  write(0, kFile, "abbacd");
  EXPECT_THAT(history_.problems(with(kA, "aaba"), 1), IsEmpty());
  EXPECT_THAT(history_.problems(with(kA, std::string("abba\0d", 6)), 1), IsEmpty());
  EXPECT_THAT(history_.problems(with(kA, std::string("a\0ba", 4)), 1),
              ElementsAre(HasSubstr("1 from 1 to 2")));
  EXPECT_THAT(history_.problems(with(kA, "aaa"), 1), ElementsAre(HasSubstr("3 bytes")));
}

// --- the volume of one point in time

TEST_F(HistoryTest, ASnapshotHasWhatWasDoneBeforeItAndNothingOfLater) {
  create(0, kA, kFile);
  auto moment = history_.begin_moment();
  write(0, kFile, "in the middle");
  history_.end_moment(moment);
  write(0, kFile, "afterwards, by somebody");
  EXPECT_THAT(history_.problems({}, moment),
              ElementsAre(HasSubstr("shows nothing"), HasSubstr("is nowhere")));
  EXPECT_THAT(history_.problems(with(kA, ""), moment), IsEmpty());
  EXPECT_THAT(history_.problems(with(kA, "in the middle"), moment), IsEmpty());
  EXPECT_THAT(history_.problems(with(kA, "afterwards, by somebody"), moment),
              ElementsAre(HasSubstr("has 23 bytes")));
}

TEST_F(HistoryTest, ASnapshotHasNoStepWithoutThoseBeforeIt) {
  auto moment = history_.begin_moment();
  create(0, kA, kFile);
  write(0, kFile, "text");
  rename(0, kA, kB, kFile);
  history_.end_moment(moment);
  EXPECT_THAT(history_.problems(with(kA, ""), moment), IsEmpty());
  EXPECT_THAT(history_.problems(with(kB, "text"), moment), IsEmpty());
  EXPECT_THAT(history_.problems(with(kB, ""), moment), ElementsAre(HasSubstr("has 0 bytes instead of 4")));
}

TEST_F(HistoryTest, ASnapshotHasNoStepWithoutWhatOthersHadDoneBeforeIt) {
  auto moment = history_.begin_moment();
  create(0, kA, kOther);
  create(1, kB, kFile);  // when the other one is there
  history_.end_moment(moment);
  EXPECT_THAT(history_.problems({}, moment), IsEmpty());
  EXPECT_THAT(history_.problems(with(kB, ""), moment),
              ElementsAre(HasSubstr("shows nothing"), HasSubstr("is nowhere")));
  FoundVolume both = with(kB, "");
  both.names[kA] = kOther;
  both.files[kOther] = {.content = "", .mode = 0644, .xattr = ""};
  EXPECT_THAT(history_.problems(both, moment), IsEmpty());
}

TEST_F(HistoryTest, ASnapshotMayHaveOneOfTwoStepsThatWereUnderWayTogether) {
  auto moment = history_.begin_moment();
  history_.begin(0);
  create(1, kB, kFile);
  history_.names(0, kA, kOther);
  history_.changes(0, kOther, {.content = "", .mode = 0644, .xattr = ""});
  history_.end(0);
  history_.end_moment(moment);
  EXPECT_THAT(history_.problems(with(kB, ""), moment), IsEmpty());
}

}  // namespace
}  // namespace polder
