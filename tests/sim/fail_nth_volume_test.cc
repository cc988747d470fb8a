// SPDX-License-Identifier: GPL-3.0-or-later
// Changes of a volume, each disk call of which fails, or is the last one of the process or the machine: what
// was acknowledged is there, what failed has not happened, nothing is there in part, the bricks are whole,
// and the volume goes on.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "core-volume/graph/volume_stack_test_support.h"
#include "tests/sim/fail_nth.h"
#include "tests/sim/fold.h"
#include "tests/sim/sim_world.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::AnyOfArray;
using testing::IsEmpty;

const std::vector kAll = {FaultKind::kError, FaultKind::kErrorThenPowerLoss, FaultKind::kNoRoom,
                          FaultKind::kDeath, FaultKind::kPowerLoss};

/// What the steps of a case act on.
struct Fixture {
  std::array<Gfid, 3> on{};  // a directory on each set
  Gfid file;
  HandleId handle = 0;  // of `file`, if it is open
};

struct Step {
  std::function<Result<void>(SimVolume&, Client&, Fixture&)> run;
  bool syncs = false;
  bool waits = false;  // no operation that is sent again: what comes after it in the background
};

struct Case {
  std::uint32_t sets = 1;
  JournalOptions journal = {};
  std::function<void(SimVolume&, Client&, Fixture&)> prepare = {};
  std::vector<Step> steps = {};
  bool keeps_log = true;  // to the first record
};

/// Everything but gfids and times: those of a change that is done later than usual differ.
std::string look(SimVolume& volume) {
  Client client(volume, 99);
  std::string text;
  for (const auto& line : client.dump()) {
    const auto mode = line.find(" mode "), times = line.find(" mtime ");
    const auto path = line.substr(0, line.find("/ ") + 1);
    const auto after = line.find_first_of(' ', line.find(" ctime ") + 7);
    text += path + line.substr(mode, times - mode) + (after == std::string::npos ? "" : line.substr(after)) +
            "\n";
  }
  must(client.end_session());
  return text;
}

class VolumeScenario final : public FailNthScenario {
 public:
  VolumeScenario(const Case& of, const std::vector<std::string>& states) : case_(of), states_(states) {}

  std::map<std::string, SimDisk*> disks() override {
    std::map<std::string, SimDisk*> all;
    for (std::uint32_t set = 0; set < case_.sets; ++set)
      all[fmt::format("brick{}", set)] = &volume_.disk_of(set);
    return all;
  }

  void prepare() override {
    for (auto& [set, brick] : volume_.config.bricks) brick.journal = case_.journal;
    volume_.stop();
    volume_.start();
    client_.chmod(Gfid::root(), 0755);  // from here on the log says everything about the root, too
    if (case_.prepare) case_.prepare(volume_, client_, fixture_);
    must(client_.sync());
    volume_.loop.run_for(1s);  // transactions are closed
  }

  void act() override {
    for (const auto& step : case_.steps) {
      ++begun_;
      auto outcome = step.run(volume_, client_, fixture_);
      last_ = outcome;
      if (!outcome) return;
      ++succeeded_;
      if (fired()) continue;
      acknowledged_ = begun_;
      if (step.syncs) synced_ = begun_;
    }
  }

  /// The volume after each step, when nobody disturbs it; the first is before all of them.
  std::vector<std::string> states_without_faults() {
    prepare();
    std::vector<std::string> states{look(volume_)};
    for (const auto& step : case_.steps) {
      must(step.run(volume_, client_, fixture_));
      states.push_back(look(volume_));
    }
    return states;
  }

  void judge(const Fault& fault) override {
    const auto [first, last] = end(fault);
    expect_sets();
    const auto seen = look(volume_);
    EXPECT_THAT(seen, AnyOfArray(states_.begin() + first, states_.begin() + last + 1)) << "after " << said();
    auto expected = seen;
    if (fault.kind == FaultKind::kDeath && !case_.steps.at(begun_ - 1).waits) expected = send_again();
    // After a power loss the file system may be ahead of the log, and nothing tells the log
    // (docs/progress.md).
    const bool logs_all = case_.keeps_log && !fault.ends_power();
    expect_well(expected, "then", logs_all);
    go_on();
    restart();
    expect_well(expected, "after a kill", logs_all);
  }

 private:
  /// What may be found: the states from the first to the last of these.
  std::pair<std::ptrdiff_t, std::ptrdiff_t> end(const Fault& fault) {
    auto first = acknowledged_, last = begun_;
    switch (fault.kind) {
      case FaultKind::kDeath:
        restart();
        break;
      case FaultKind::kErrorThenPowerLoss:
        // Who is told that all is safe may believe it, whatever failed before.
        if (synced_ < succeeded_ && client_.sync()) synced_ = succeeded_;
        [[fallthrough]];
      case FaultKind::kPowerLoss:
        first = synced_;
        volume_.lose_power(fault.seed);
        volume_.start();
        break;
      default:
        first = last = succeeded_;
        if (!last_ && last_.error().maybe_applied()) ++last;
        volume_.loop.run_for(12s);  // what heals by itself has done so
        look_after_bricks();
        volume_.loop.run_for(1s);
    }
    return {first, last};
  }

  std::string said() const {
    return fmt::format("{} steps, {} acknowledged, the last said: {}", begun_, succeeded_,
                       last_ ? "done" : last_.error().message());
  }

  void restart() {
    volume_.kill();
    volume_.start();
  }

  /// As the daemon does every few seconds (core-volume/node/watch.cc): a brick whose log takes nothing more
  /// is started again, the volume with it if it is the root's.
  void look_after_bricks() {
    if (volume_.run_one(volume_.stack->check(true))) {
      volume_.run_one(volume_.stack->start_failed());
      return;
    }
    (void)volume_.run_one(volume_.stack->stop());
    volume_.stack.reset();
    volume_.start();
  }

  void expect_sets() {
    for (const auto& [set, why] : volume_.stack->failures()) ADD_FAILURE() << "set " << set << ": " << why;
  }

  /// As the client does it after a reconnect; the state afterwards.
  std::string send_again() {
    if (fixture_.handle != 0) {
      const auto sequence = client_.context().sequence;
      fixture_.handle = must(client_.open(fixture_.file)).handle;
      client_.context().sequence = sequence;
    }
    client_.resend();
    const auto again = case_.steps.at(begun_ - 1).run(volume_, client_, fixture_);
    EXPECT_TRUE(again) << "sent again: " << again.error().message();
    EXPECT_EQ(look(volume_), states_.at(begun_));
    return states_.at(begun_);
  }

  void expect_well(const std::string& state, std::string_view when, bool logs_all) {
    expect_sets();
    EXPECT_EQ(look(volume_), state) << when;
    must(client_.end_session());
    EXPECT_THAT(volume_.problems(), testing::IsEmpty()) << when;
    std::vector<Journal*> logs;
    for (const auto& [set, brick] : volume_.stack->bricks()) {
      for (const auto& damage : must(brick->journal().verify()).damage) ADD_FAILURE() << damage.what;
      logs.push_back(&brick->journal());
    }
    if (!logs_all) return;
    Client client(volume_, 99);
    EXPECT_THAT(differing_lines(fold_logs(volume_.loop, volume_.loop.clock(), logs), client.dump(),
                                fmt::format("the volume {}, compared with its logs", when)),
                testing::IsEmpty());
  }

  /// The volume takes another change on each set, after a restart at the latest.
  void go_on() {
    Client client(volume_, 8);
    for (const bool restarted : {false, true}) {
      Result<void> outcome;
      for (std::uint32_t set = 0; set < case_.sets && outcome; ++set) {
        auto parent = fixture_.on[set].is_nil() ? Gfid::root() : fixture_.on[set];
        outcome = outcome_of(client.mknod(parent, "another", {.mode = S_IFREG | 0644}));
        if (outcome) outcome = client.unlink(parent, "another");
      }
      if (outcome) return;
      EXPECT_FALSE(restarted) << "takes no changes: " << outcome.error().message();
      restart();
    }
  }

  const Case& case_;
  const std::vector<std::string>& states_;
  SimVolume volume_{case_.sets, Spread::kDirs, 1, true};
  Client client_{volume_};
  Fixture fixture_;
  // Of steps: how many …
  std::ptrdiff_t begun_ = 0, succeeded_ = 0, acknowledged_ = 0, synced_ = 0;
  Result<void> last_;
};

void fail_each_call(const std::string& name, const Case& of, std::uint64_t every,
                    std::vector<FaultKind> kinds = kAll) {
  log_only_what_was_asked_for();
  const auto states = VolumeScenario(of, {}).states_without_faults();
  for_each_call(name, [&] { return std::make_unique<VolumeScenario>(of, states); },
                {.kinds = kinds, .every = every});
}

// --- the fixtures

/// Three sets, a directory on each, and files of each in them.
void three_sets(SimVolume& volume, Client& c, Fixture& f) {
  for (std::uint32_t set = 0; set < 3; ++set)
    f.on[set] = make_directory_on(volume, c, Gfid::root(), fmt::format("on{}", set), set);
  c.file(f.on[0], "file", "file");
  c.file(f.on[1], "victim", "victim!");
  auto full = make_directory_on(volume, c, f.on[0], "full", 1);
  c.file(full, "in", "in");
  c.file(f.on[2], "moved", "moved");
  must(c.rename(f.on[2], "moved", f.on[1], "moved"));
}

Step rename_step(int from, std::string old_name, int to, std::string new_name, unsigned flags = 0) {
  return {.run = [=](SimVolume&, Client& c, Fixture& f) {
    return c.rename(f.on[from], old_name, f.on[to], new_name, flags);
  }};
}

/// Records are synced, transactions closed.
Step moments_step() {
  return {.run =
              [](SimVolume& volume, Client&, Fixture&) {
                volume.loop.run_for(400ms);
                return Result<void>();
              },
          .waits = true};
}

Step fsync_step() {
  return {.run = [](SimVolume&, Client& c, Fixture& f) { return c.fsync(f.file); }, .syncs = true};
}

// --- the scenarios

TEST(FailNthVolume, CreateWriteFsync) {
  Case of;
  of.steps = {{.run = [](SimVolume&, Client& c, Fixture& f) -> Result<void> {
                TRY(auto opened, c.create(Gfid::root(), "new", {.mode = 0644}, O_RDWR | O_EXCL));
                f.file = opened.attr.gfid;
                f.handle = opened.handle;
                return {};
              }},
              {.run = [](SimVolume&, Client& c,
                         Fixture& f) { return outcome_of(c.write(f.file, f.handle, 0, "some bytes")); }},
              fsync_step()};
  fail_each_call("create, write, fsync", of, 7);
}

/// Whoever follows the log must not believe that the bytes are there.
TEST(FailNthVolume, WriteThatFails) {
  Case of;
  of.prepare = [](SimVolume&, Client& c, Fixture& f) {
    f.file = c.file(Gfid::root(), "file", "bytes");
    f.handle = must(c.open(f.file)).handle;
  };
  of.steps = {{.run = [](SimVolume&, Client& c, Fixture& f) {
    return outcome_of(c.write(f.file, f.handle, 5, " and more"));
  }}};
  // Nothing is promised of bytes that were not synced when the power goes: create, write, fsync.
  fail_each_call("write that fails", of, 1, {FaultKind::kError, FaultKind::kNoRoom, FaultKind::kDeath});
}

TEST(FailNthVolume, RenameOverAFileOfAnotherSet) {
  const Case of{
      .sets = 3, .prepare = three_sets, .steps = {rename_step(0, "file", 1, "victim"), moments_step()}};
  fail_each_call("rename over a file of another set", of, 11);
}

TEST(FailNthVolume, RenameOfADirectoryIntoAnotherOne) {
  const Case of{
      .sets = 3, .prepare = three_sets, .steps = {rename_step(0, "full", 2, "new"), moments_step()}};
  fail_each_call("rename of a directory into another one", of, 11);
}

TEST(FailNthVolume, MkdirOnAnotherSet) {
  const Case of{.sets = 3,
                .prepare = three_sets,
                .steps = {{.run = [](SimVolume& volume, Client& c, Fixture& f) -> Result<void> {
                            auto made = c.mkdir(f.on[1], "new");
                            (void)Client(volume, 98).lookup(f.on[1], "new");  // which ends
                            if (!made) return made.error();
                            EXPECT_NE(volume.stack->placement().set_of(made->gfid), 1u) << "not elsewhere";
                            return {};
                          }},
                          moments_step()}};
  fail_each_call("mkdir on another set", of, 11);
}

TEST(FailNthVolume, UnlinkOfTheLastNameOfAFileOfAnotherSet) {
  const Case of{
      .sets = 3,
      .prepare = three_sets,
      .steps = {{.run = [](SimVolume&, Client& c, Fixture& f) { return c.unlink(f.on[1], "moved"); }},
                moments_step()}};
  fail_each_call("unlink of the last name of a file of another set", of, 11);
}

TEST(FailNthVolume, UnlinkOfAnOpenFile) {
  Case of;
  of.prepare = [](SimVolume&, Client& c, Fixture& f) {
    f.file = c.file(Gfid::root(), "open", "bytes");
    f.handle = must(c.open(f.file)).handle;
  };
  of.steps = {
      {.run = [](SimVolume&, Client& c, Fixture&) { return c.unlink(Gfid::root(), "open"); }},
      moments_step(),
      {.run = [](SimVolume&, Client& c, Fixture& f) -> Result<void> {
        TRY(auto bytes, c.read(f.file, f.handle, 0, 100));
        EXPECT_EQ(bytes, "bytes");
        return {};
      }},
      // Not sent again: who finds the file gone has nothing to release.
      {.run = [](SimVolume&, Client& c, Fixture& f) { return c.release(f.file, f.handle); }, .waits = true}};
  fail_each_call("unlink of an open file", of, 5);
}

/// Small segments, with something in them.
Case with_upkeep() {
  Case of;
  of.journal = {.segment_bytes = 1000, .keep_sealed = 0, .checkpoint_interval_s = 1};
  of.prepare = [](SimVolume&, Client& c, Fixture&) {
    for (int i = 0; i < 4; ++i) c.file(Gfid::root(), fmt::format("file{}", i), "bytes");
  };
  of.steps = {
      {.run = [](SimVolume&, Client& c, Fixture&) { return outcome_of(c.mkdir(Gfid::root(), "new")); }},
      {.run =
           [](SimVolume& volume, Client&, Fixture&) {
             volume.loop.run_for(6s);
             return Result<void>();
           },
       .waits = true}};
  return of;
}

TEST(FailNthVolume, SealCheckpointAndCompression) {
  auto of = with_upkeep();
  of.prepare = [before = of.prepare](SimVolume& volume, Client& c, Fixture& f) {
    must(volume.stack->root_brick().journal().set_cursor("holds the log", 0));
    before(volume, c, f);
  };
  fail_each_call("seal, checkpoint, compression", of, 11);
}

TEST(FailNthVolume, Retention) {
  auto of = with_upkeep();
  of.keeps_log = false;
  fail_each_call("retention", of, 11);
}

TEST(FailNthVolume, ExchangeAcrossSets) {
  const Case of{.sets = 3,
                .prepare = three_sets,
                .steps = {rename_step(0, "full", 1, "moved", RENAME_EXCHANGE), moments_step()}};
  fail_each_call("exchange across sets", of, 13);
}

}  // namespace
}  // namespace polder
