// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/faults/faults_layer.h"

#include "base/hlc.h"
#include "base/random.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {
namespace {

class FaultsStack : public LoopStack {
 public:
  FileOps& ops() override { return faults; }

 private:
  std::unique_ptr<Clock> clock_ = make_system_clock();
  HlcClock hlc_{*clock_};
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  MemoryLayer memory_{hlc_, *random_};

 public:
  FaultsLayer faults{memory_, *clock_};
};

INSTANTIATE_TEST_SUITE_P(Faults, Conformance,
                         testing::Values(conformance_target<FaultsStack>("faults_memory")), conformance_name);

struct FaultsTest : testing::Test {
  FaultsStack stack;
  Client c{stack};
  FaultsLayer& faults = stack.faults;
  const Gfid root = Gfid::root();
};

TEST_F(FaultsTest, FailsTheNthBeforeItIsApplied) {
  faults.arm({.kind = OpKind::kMkdir, .nth = 2, .error = ENOSPC});
  must(c.mkdir(root, "a"));
  must(c.symlink(root, "l", "t"));
  const Result<FileAttr> failed = c.mkdir(root, "b");
  EXPECT_EQ(code_of(failed), ENOSPC);
  EXPECT_FALSE(failed.error().maybe_applied());
  must(c.mkdir(root, "c"));
  EXPECT_THAT(c.names(root), testing::ElementsAre("a", "c", "l"));
  EXPECT_EQ(faults.matched(), 3u);
  EXPECT_EQ(faults.fired(), 1u);
}

TEST_F(FaultsTest, FailsAfterItWasApplied) {
  faults.arm({.kind = OpKind::kMkdir, .error = ECONNRESET, .after = true});
  const Result<FileAttr> failed = c.mkdir(root, "a");
  EXPECT_EQ(code_of(failed), ECONNRESET);
  EXPECT_TRUE(failed.error().maybe_applied());
  EXPECT_THAT(c.names(root), testing::ElementsAre("a"));
  c.resend();
  EXPECT_EQ(code_of(c.mkdir(root, "a")), 0) << "the model recognises the retry";
}

TEST_F(FaultsTest, ForEverUntilDisarmed) {
  faults.arm({.changes_only = true, .forever = true, .error = EROFS});
  EXPECT_EQ(code_of(c.mkdir(root, "a")), EROFS);
  EXPECT_EQ(code_of(c.create(root, "b")), EROFS);
  EXPECT_EQ(code_of(c.lookup(root, "b")), ENOENT);
  faults.disarm();
  must(c.mkdir(root, "a"));
}

TEST_F(FaultsTest, DelaysWithoutFailing) {
  faults.arm({.kind = OpKind::kGetattr, .error = 0, .delay = std::chrono::microseconds(1)});
  EXPECT_EQ(code_of(c.getattr(root)), 0);
  EXPECT_EQ(faults.fired(), 1u);
}

TEST_F(FaultsTest, EveryOperationCanFail) {
  const Gfid file = c.file(root, "f", "x");
  faults.arm({.forever = true, .error = EIO});
  EXPECT_EQ(code_of(c.lookup(root, "f")), EIO);
  EXPECT_EQ(code_of(c.statfs()), EIO);
  EXPECT_EQ(code_of(c.read(file, 1, 0, 1)), EIO);
  EXPECT_EQ(code_of(c.fsync(file)), EIO);
  EXPECT_EQ(code_of(c.set_lock(file, {})), EIO);
  EXPECT_EQ(code_of(c.replay({})), EIO);
  EXPECT_EQ(code_of(c.end_session()), EIO);
}

}  // namespace
}  // namespace polder
