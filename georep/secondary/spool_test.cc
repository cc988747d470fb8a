// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/sim_disk.h"

namespace polder::georep {
namespace {

class SpoolTest : public testing::Test {
 protected:
  void open() {
    spool_.reset();
    auto opened = Spool::open(disk_, "/spool", disk_.boot_id().value());
    ASSERT_TRUE(opened) << opened.error().message();
    spool_ = std::move(*opened);
  }
  void check(Result<void> result) { ASSERT_TRUE(result) << result.error().message(); }
  void put(std::string_view message, std::string_view payload = {}) {
    check(spool_->append(as_bytes(message), as_bytes(payload)));
  }
  void finished_cut(std::uint64_t cut, std::string_view message) {
    check(spool_->begin(cut));
    put(message, "payload of " + std::string(message));
    check(spool_->finish());
  }
  std::string content(std::uint64_t cut) {
    auto reader = spool_->read(cut);
    if (!reader) return reader.error().message();
    std::string text;
    while (true) {
      auto frame = reader->next();
      if (!frame) return frame.error().message();
      if (!*frame) return text;
      text += (*frame)->message + "/" + std::string((*frame)->payload.text()) + ";";
    }
  }

  SimDisk disk_;
  std::unique_ptr<Spool> spool_;
};

/// The disk fails for good, the process is killed, and the disk is well again.
TEST_F(SpoolTest, WhatAFailedSyncDroppedIsSafeOnceTheCutIsFinished) {
  open();
  check(spool_->begin(1));
  put("first", std::string(10'000, 'x'));
  disk_.fail_nth(1, EIO, true);
  EXPECT_TRUE(spool_->finish().failed_with(EIO));
  disk_.freeze();
  spool_.reset();
  disk_.kill();
  open();
  ASSERT_EQ(spool_->unfinished(), 1u);
  put("second");
  check(spool_->finish());
  disk_.freeze();
  spool_.reset();
  disk_.crash(1);
  open();
  EXPECT_EQ(content(1), "first/" + std::string(10'000, 'x') + ";second/;");
}

TEST_F(SpoolTest, FramesComeBackAsTheyWere) {
  open();
  check(spool_->begin(1));
  put("first", "one");
  put("second");
  EXPECT_EQ(spool_->unfinished(), 1u);
  EXPECT_EQ(content(1), "first/one;second/;");
  check(spool_->finish());
  EXPECT_EQ(spool_->finished(), std::vector<std::uint64_t>{1});
  EXPECT_EQ(content(1), "first/one;second/;");
  EXPECT_GT(spool_->bytes(), 0u);
  check(spool_->remove_through(1));
  EXPECT_EQ(spool_->bytes(), 0u);
  EXPECT_TRUE(spool_->read(1).failed_with(ENOENT));
}

TEST_F(SpoolTest, AFailedAppendLeavesNothingBehindTheLastFrame) {
  open();
  check(spool_->begin(1));
  put("first");
  disk_.set_capacity(8192);
  const std::string large(20000, 'x');
  EXPECT_TRUE(spool_->append(as_bytes(large), {}).failed_with(ENOSPC));
  disk_.set_capacity(0);
  check(spool_->finish());
  open();
  EXPECT_EQ(content(1), "first/;");
}

TEST_F(SpoolTest, ACutThatCannotBeSyncedIsDropped) {
  open();
  for (std::uint64_t call = 1; spool_->finished().empty(); ++call) {
    check(spool_->begin(1));
    put("first");
    disk_.fail_nth(call, EIO);
    auto finished = spool_->finish();
    const bool fired = disk_.fault_fired();
    disk_.heal();
    if (!fired) {
      check(std::move(finished));
      break;
    }
    EXPECT_TRUE(finished.failed_with(EIO));
    if (call == 1) {  // the sync of the file
      EXPECT_EQ(spool_->unfinished(), 0U);
    }
    if (spool_->unfinished() != 0) check(spool_->abandon());
  }
  disk_.crash(1);
  open();
  EXPECT_THAT(content(1), testing::AnyOf("first/;", testing::HasSubstr("No such file")));
}

TEST_F(SpoolTest, FinishedCutsSurviveAPowerLoss) {
  open();
  finished_cut(1, "one");
  finished_cut(2, "two");
  check(spool_->begin(3));
  put("three", std::string(20'000, 'x'));
  spool_.reset();
  disk_.crash(7);
  open();
  EXPECT_EQ(spool_->finished(), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(content(1), "one/payload of one;");
  EXPECT_EQ(content(2), "two/payload of two;");
  // Of the third there is a sound prefix, or nothing.
  if (spool_->unfinished() == 3) {
    EXPECT_TRUE(content(3).empty() || content(3) == "three/" + std::string(20'000, 'x') + ";");
  }
}

TEST_F(SpoolTest, AnUnfinishedCutGoesOnAfterARestart) {
  open();
  check(spool_->begin(1));
  put("a");
  spool_.reset();
  disk_.kill();
  open();
  EXPECT_EQ(spool_->unfinished(), 1u);
  put("b");
  check(spool_->finish());
  EXPECT_EQ(content(1), "a/;b/;");
}

TEST_F(SpoolTest, ATornTailIsCutOffAtEveryByte) {
  open();
  check(spool_->begin(1));
  put("whole", "frame");
  const auto good = spool_->bytes();
  put("torn", "frame that is torn");
  const auto all = spool_->bytes();
  spool_.reset();
  const std::string path = "/spool/00000000000000000001.part";
  std::string bytes(all, '\0');
  {
    auto file = disk_.open(Disk::kNoDir, path, O_RDONLY);
    ASSERT_TRUE(disk_.pread(file->fd(), std::as_writable_bytes(std::span(bytes)), 0));
  }
  for (std::uint64_t size = good + 1; size < all; ++size) {
    {
      auto file = disk_.open(Disk::kNoDir, path, O_RDWR | O_TRUNC);
      ASSERT_TRUE(disk_.pwrite(file->fd(), as_bytes(std::string_view(bytes).substr(0, size)), 0));
    }
    open();
    ASSERT_EQ(content(1), "whole/frame;") << size;
    ASSERT_EQ(spool_->bytes(), good);
  }
}

TEST_F(SpoolTest, DamageInAFinishedCutIsReportedWithItsPlace) {
  open();
  finished_cut(1, "one");
  {
    auto file = disk_.open(Disk::kNoDir, "/spool/00000000000000000001.cut", O_RDWR);
    ASSERT_TRUE(disk_.pwrite(file->fd(), as_bytes("X"), 14));
  }
  EXPECT_NE(content(1).find("00000000000000000001.cut: checksum mismatch at byte 0"), std::string::npos)
      << content(1);
}

TEST_F(SpoolTest, AMissingCutIsRefused) {
  open();
  finished_cut(1, "one");
  finished_cut(2, "two");
  finished_cut(3, "three");
  spool_.reset();
  ASSERT_TRUE(disk_.unlink(Disk::kNoDir, "/spool/00000000000000000002.cut"));
  auto opened = Spool::open(disk_, "/spool", disk_.boot_id().value());
  ASSERT_TRUE(opened.failed_with(EUCLEAN));
  EXPECT_NE(opened.error().message().find("cut 2 is missing"), std::string::npos);
}

TEST_F(SpoolTest, AbandonedCutsAndSideFilesGo) {
  open();
  check(spool_->begin(1));
  put("a");
  check(spool_->abandon());
  EXPECT_EQ(spool_->unfinished(), 0u);
  finished_cut(1, "again");
  const auto side = spool_->side_file(1, "rebuilt");
  ASSERT_TRUE(disk_.open(Disk::kNoDir, side, O_RDWR | O_CREAT, 0600));
  check(spool_->remove_through(1));
  EXPECT_TRUE(disk_.stat(Disk::kNoDir, side).failed_with(ENOENT));
}

}  // namespace
}  // namespace polder::georep
