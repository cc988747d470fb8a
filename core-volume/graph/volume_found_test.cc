// SPDX-License-Identifier: GPL-3.0-or-later
// After a power loss the log of a volume that somebody follows tells of everything that it shows, also of
// changes that the disk has kept and whose records it has not (ordering/found.h).
#include <gmock/gmock.h>

#include "core-volume/graph/volume_stack_test_support.h"
#include "core-volume/layer/record_rules.h"
#include "core-volume/layers/memory/memory_layer.h"
#include "tests/support/seeds.h"

namespace polder {
namespace {

/// What somebody has who followed the log from the first record on.
class Follower final : public LoopStack {
 public:
  FileOps& ops() override { return tree_; }

 private:
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  HlcClock hlc_{*clock_};
  MemoryLayer tree_{hlc_, *random_};
};

Journal& log_of(SimVolume& volume) {
  return volume.stack->bricks().at(0)->journal();
}

/// After a start: nothing has changed since.
void expect_log_and_volume_agree(SimVolume& volume) {
  std::vector<Record> records;
  auto reader = must(log_of(volume).read_from(1, true));
  while (auto record = must(reader->next()))
    if (record->is_history() && is_about_object(record->kind)) records.push_back(*std::move(record));
  Follower follower;
  Client copy(follower), shown(volume);
  must(copy.replay(records));
  EXPECT_EQ(copy.dump(), shown.dump());
}

/// Random changes, small enough for the log, in a few directories.
class Changes {
 public:
  Changes(Client& client, std::uint64_t seed) : c_(client), random_(make_seeded_random(seed)) {}

  void make(int count) {
    for (int i = 0; i < count; ++i) {
      std::erase_if(dirs_, [&](const Gfid& dir) {
        auto there = c_.getattr(dir);
        return !there || there->nlink == 0;
      });
      auto& dir = dirs_[random_->below(dirs_.size())];
      const auto one = name(), other = name();
      switch (random_->below(9)) {
        case 0:
          if (auto made = c_.mkdir(dir, one)) dirs_.push_back(made->gfid);
          break;
        case 1:
          (void)c_.unlink(dir, one);
          break;
        case 2:
          (void)c_.rmdir(dir, one);
          break;
        case 3:
        case 4:
          (void)c_.rename(dir, one, dirs_[random_->below(dirs_.size())], other);
          break;
        case 5:
          if (auto there = c_.lookup(dir, one); there && !there->is_directory())
            (void)c_.link(there->gfid, dir, other);
          break;
        case 6:
          if (auto there = c_.lookup(dir, one))
            (void)c_.setattr(there->gfid, {.fields = SetAttr::kMtime, .mtime = {1'900'000'000 + i, 0}});
          break;
        default:
          write(dir, one);
      }
    }
  }

 private:
  std::string name() { return fmt::format("n{}", random_->below(6)); }
  void write(const Gfid& dir, const std::string& name) {
    auto there = c_.lookup(dir, name);
    if (there && there->is_directory()) return;
    const auto file = there ? there->gfid : c_.file(dir, name);
    c_.put(file, random_->below(20'000), std::string(1 + random_->below(3000), 'x'));
    if (random_->below(4) == 0) must(c_.fsync(file));
  }

  Client& c_;
  std::unique_ptr<Random> random_;
  std::vector<Gfid> dirs_{Gfid::root()};
};

class VolumeFound : public testing::Test {
 protected:
  /// A volume of one brick whose log somebody follows.
  static std::unique_ptr<SimVolume> new_volume(std::uint64_t seed) {
    auto volume = std::make_unique<SimVolume>(1, Spread::kAuto, seed);
    must(log_of(*volume).set_cursor("a follower", 0));
    Client(*volume).chmod(Gfid::root(), 0755);  // from here on the log says everything about the root, too
    return volume;
  }
};

TEST_F(VolumeFound, TheLogTellsOfAllThatAPowerLossHasKept) {
  for (auto seed : seeds(25, 1000)) {
    SCOPED_TRACE(seed);
    auto volume = new_volume(seed);
    Client c(*volume);
    Changes changes(c, seed);
    for (std::uint64_t loss = 1; loss <= 3; ++loss) {
      changes.make(20);
      volume->loop.run_for(std::chrono::seconds(2));  // these are in the log
      changes.make(30);
      volume->lose_power(100 * seed + loss);
      volume->start();
      expect_log_and_volume_agree(*volume);
      if (testing::Test::HasFailure()) return;
    }
  }
}

/// The log's stamps are ahead of the clock that the file system takes its times from.
TEST_F(VolumeFound, TheLogTellsOfItAlsoWhenTheClockWasSetBack) {
  for (auto seed : seeds(50, 1000)) {
    SCOPED_TRACE(seed);
    auto volume = new_volume(seed);
    Client c(*volume);
    Changes changes(c, seed);
    changes.make(20);
    volume->loop.run_for(std::chrono::seconds(5));
    changes.make(5);
    volume->loop.run_for(std::chrono::seconds(5));  // these are in the log
    volume->loop.clock().step_wall(-std::chrono::hours(1));
    changes.make(30);
    volume->lose_power(seed);
    volume->start();
    expect_log_and_volume_agree(*volume);
    if (testing::Test::HasFailure()) return;
  }
}

/// The first write of a new file: the disk has its bytes, neither the log nor the file's times tell of it.
TEST_F(VolumeFound, TheLogTellsOfBytesThatWentAheadOfTheTimesOfANewFile) {
  for (auto seed : seeds(25, 1000)) {
    SCOPED_TRACE(seed);
    auto volume = new_volume(seed);
    Client c(*volume);
    std::vector<Gfid> files;
    for (int i = 0; i < 8; ++i) files.push_back(c.file(Gfid::root(), fmt::format("new{}", i)));
    volume->loop.run_for(std::chrono::seconds(2));
    c.dir(Gfid::root(), "much later than they");
    volume->loop.run_for(std::chrono::seconds(2));  // all that is in the log
    for (const auto& file : files) c.put(file, 0, std::string(3000, 'x'));
    volume->lose_power(seed);
    volume->start();
    expect_log_and_volume_agree(*volume);
    if (testing::Test::HasFailure()) return;
  }
}

/// Writes over what an old file has: the disk has written its pages and neither its inode nor the record.
TEST_F(VolumeFound, TheLogTellsOfBytesThatWentAheadOfTheTimesOfAnOldFile) {
  for (auto seed : seeds(50, 1000)) {
    SCOPED_TRACE(seed);
    auto volume = new_volume(seed);
    Client c(*volume);
    std::vector<Gfid> files;
    for (int i = 0; i < 8; ++i) {
      files.push_back(c.file(Gfid::root(), fmt::format("old{}", i)));
      c.put(files.back(), 0, std::string(3000, 'x'));
    }
    volume->loop.run_for(std::chrono::seconds(2));
    must(log_of(*volume).maintain(true));  // the log's tail tells of none of them
    c.dir(Gfid::root(), "much later than they");
    volume->loop.run_for(std::chrono::seconds(2));
    for (const auto& file : files) c.put(file, 1000, std::string(100, 'y'));
    volume->lose_power(seed);
    volume->start();
    expect_log_and_volume_agree(*volume);
    if (testing::Test::HasFailure()) return;
  }
}

/// A start that ends early has said in the log only a part of it.
TEST_F(VolumeFound, TheNextStartDoesWhatOneHasNotEnded) {
  for (auto seed : seeds(25, 1000)) {
    SCOPED_TRACE(seed);
    auto volume = new_volume(seed);
    Client c(*volume);
    Changes(c, seed).make(60);
    volume->lose_power(seed);
    volume->disk.freeze_at(20 * seed);
    auto started = volume->run_one(VolumeStack::start(volume->seams, volume->config));
    if (started) {
      volume->stack = *std::move(started);
      volume->lose_power(seed + 1);
    } else {
      volume->disk.crash(seed + 1);
    }
    volume->start();
    expect_log_and_volume_agree(*volume);
    EXPECT_FALSE(must(volume->stack->bricks().at(0)->store().unlogged_since()));
    if (testing::Test::HasFailure()) return;
  }
}

/// Where nobody follows, a start need not look at every object.
TEST_F(VolumeFound, NobodyIsToldWhereNobodyFollows) {
  SimVolume volume(1);
  Client c(volume);
  Changes(c, 1).make(30);
  volume.lose_power(1);
  volume.start();
  auto reader = must(log_of(volume).read_from(1, true));
  while (auto record = must(reader->next())) EXPECT_NE(record->kind, RecordKind::kFoundBegin);
}

}  // namespace
}  // namespace polder
