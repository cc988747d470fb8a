// SPDX-License-Identifier: GPL-3.0-or-later
// What fsync promises, whatever mixture of small writes (in the log with their bytes), large ones,
// truncations and holes comes before and after it, over kill -9 and power losses: each byte is as the last
// fsync left it, or as a later change made it.
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <random>

#include "core-volume/graph/brick_test_support.h"
#include "tests/support/seeds.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kInline_bytes = 512;
constexpr std::uint64_t kEnd = 12'000;

class FsyncNode : public SimBrick {
 public:
  explicit FsyncNode(std::uint64_t seed) : SimBrick(seed) {
    stop();
    config.ordering.inline_data_bytes = kInline_bytes;
    start();
  }
  void lose_power(std::uint64_t seed) {
    disk.freeze();
    (void)loop.run_until_done(brick->stop());
    brick.reset();
    disk.crash(seed);
    start();
  }
  /// `killed`: or taken down, as a daemon does it with a brick that has failed. The start is killed as well,
  /// at a call of the disk; 0: it is not.
  void restart(bool killed, std::uint64_t start_killed_at) {
    if (killed) {
      kill();
    } else {
      disk.heal();
      (void)loop.run_until_done(brick->stop());
      brick.reset();
    }
    if (start_killed_at > 0) {
      disk.freeze_at(start_killed_at);
      auto started = loop.run_until_done(Brick::start(seams, config));
      disk.freeze();
      if (started) (void)loop.run_until_done((*started)->stop());
      started = Error(EIO);
      disk.kill();
    }
    start();
  }
};

/// One file, with what it may be after a power loss: the content at its last fsync and after each change
/// since.
class FsyncedFile {
 public:
  FsyncedFile(Client& client, const std::string& name)
      : client_(client), gfid_(client.file(Gfid::root(), name, "")), states_{""} {
    open();
    must(client_.fsync(gfid_));
  }

  void open() { handle_ = must(client_.open(gfid_)).handle; }
  void write(std::uint64_t offset, std::size_t bytes) {
    const std::string data(bytes, static_cast<char>(1 + ++changes_ % 250));
    must(client_.write(gfid_, handle_, offset, data));
    auto next = states_.back();
    if (next.size() < offset + bytes) next.resize(offset + bytes, '\0');
    next.replace(offset, bytes, data);
    states_.push_back(std::move(next));
  }
  void truncate(std::uint64_t size) {
    client_.truncate(gfid_, size);
    auto next = states_.back();
    next.resize(size, '\0');
    states_.push_back(std::move(next));
  }
  void punch(std::uint64_t offset, std::uint64_t bytes) {
    must(client_.fallocate(gfid_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes));
    auto next = states_.back();
    for (auto at = offset; at < std::min<std::uint64_t>(next.size(), offset + bytes); ++at) next[at] = '\0';
    states_.push_back(std::move(next));
  }
  void fsync() {
    must(client_.fsync(gfid_));
    states_.erase(states_.begin(), states_.end() - 1);
  }
  bool try_fsync() { return client_.fsync(gfid_).has_value(); }
  void expect_all() {
    EXPECT_TRUE(client_.content(gfid_) == states_.back()) << "nothing may be missing without a power loss";
  }
  void expect_synced() {
    const auto content = client_.content(gfid_);
    // A large write may have reached the disk in part.
    const auto [smallest, largest] = std::ranges::minmax(states_, {}, &std::string::size);
    EXPECT_TRUE(content.size() >= smallest.size() && content.size() <= largest.size())
        << content.size() << " bytes, not " << smallest.size() << " to " << largest.size();
    for (std::size_t at = 0; at < content.size(); ++at) {
      const bool known = std::ranges::any_of(
          states_, [&](const auto& s) { return at < s.size() ? s[at] == content[at] : content[at] == '\0'; });
      ASSERT_TRUE(known) << "byte " << at << " is " << int{content[at]} << ", " << states_.size() - 1
                         << " changes since the fsync";
    }
    states_ = {content};
  }

 private:
  Client& client_;
  const Gfid gfid_;
  HandleId handle_ = 0;
  int changes_ = 0;
  std::vector<std::string> states_;
};

void change(FsyncedFile& file, std::mt19937_64& random) {
  const auto offset = random() % kEnd;
  switch (random() % 8) {
    case 0:
      return file.write(offset, kInline_bytes + 1 + random() % 5000);
    case 1:
      return file.truncate(random() % kEnd);
    case 2:
      return file.punch(offset, 1 + random() % 5000);
    case 3:
      return file.truncate(0);
    default:
      return file.write(offset, 1 + random() % kInline_bytes);
  }
}

void run(std::uint64_t seed) {
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  FsyncNode node(seed);
  Client client(node);
  FsyncedFile one(client, "one"), two(client, "two");
  for (int step = 0; step < 60 && !testing::Test::HasFatalFailure(); ++step) {
    auto& file = random() % 2 == 0 ? one : two;
    const auto what = random() % 20;
    if (what < 12) {
      change(file, random);
    } else if (what < 17) {
      file.fsync();
    } else if (what == 17) {
      node.loop.run_for(std::chrono::seconds(random() % 60));  // checkpoints
    } else {
      what == 18 ? node.kill() : node.lose_power(random());
      if (what == 18) node.start();
      what == 18 ? one.expect_all() : one.expect_synced();
      what == 18 ? two.expect_all() : two.expect_synced();
      one.open();
      two.open();
    }
  }
}

/// A sync fails, and Linux forgets that what it was to make safe is not. The brick is started again; what it
/// shows then can be synced, and survives a power loss.
void run_failed_sync(std::uint64_t seed) {
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  FsyncNode node(seed);
  Client client(node);
  FsyncedFile file(client, "file"), other(client, "other");
  for (int round = 0; round < 3 && !testing::Test::HasFatalFailure(); ++round) {
    for (int step = 0; step < 10; ++step) random() % 3 == 0 ? file.fsync() : change(file, random);
    node.disk.fail_nth(1 + random() % 4, EIO);
    random() % 3 == 0 ? (void)client.sync() : (void)(random() % 2 == 0 ? other : file).try_fsync();
    node.loop.run_for(std::chrono::seconds(random() % 60));  // checkpoints
    node.restart(random() % 2 == 0, random() % 3 == 0 ? random() % 100 : 0);
    file.expect_all();
    if (random() % 2 == 0) file.fsync();
    node.loop.run_for(std::chrono::seconds(random() % 60));
    node.lose_power(random());
    file.expect_synced();
    file.open();
    other.open();
  }
}

TEST(BrickFsyncTest, SyncedBytesSurviveAFailedSync) {
  for (auto seed : seeds(150, 5000)) {
    run_failed_sync(seed);
    if (HasFailure()) break;
  }
}

TEST(BrickFsyncTest, SyncedBytesSurviveWhateverComesBeforeAndAfter) {
  for (auto seed : seeds(150, 5000)) {
    run(seed);
    if (HasFailure()) break;
  }
}

/// An fsync that was the log's alone, then a truncation whose effect reaches the disk before the bytes do.
TEST(BrickFsyncTest, ATruncationDoesNotTakeBytesAlongThatOnlyTheLogHas) {
  for (std::uint64_t seed = 0; seed < 40 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    FsyncNode node(seed);
    Client client(node);
    FsyncedFile file(client, "file");
    file.write(0, 100);
    file.fsync();
    file.truncate(5000);
    node.lose_power(seed);
    file.expect_synced();
  }
}

}  // namespace
}  // namespace polder
