// SPDX-License-Identifier: GPL-3.0-or-later
// Power loss on real file systems: a workload runs on a disk whose writes are logged; then, for each flush
// that reached the disk, the disk as it was at that moment is started with another boot id, and must hold
// what had been synced, be whole, and have nothing that nobody made. power_loss_test.sh runs it in a guest
// kernel.
//
//   POLDER_POWER_LOSS_STEPS=N   of each client, twice (30 divided by the bricks)
//   POLDER_POWER_LOSS_EVERY=N   looks at each Nth flush only (1)
//   POLDER_POWER_LOSS_AT=N      looks at that flush only, and says more
//   POLDER_POWER_LOSS_SEED=N    (1)
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>

#include "base/concurrency.h"
#include "base/coro.h"
#include "base/log.h"
#include "tests/vm/guest_volume.h"
#include "tests/vm/lossy_disk.h"
#include "tests/vm/story.h"
#include "tests/workload/volume_client.h"

namespace polder {
namespace {

constexpr std::size_t kClients = 5;
constexpr const char* kLog = "/run/power_loss.log";

std::uint64_t setting(const std::string& name, std::uint64_t usual) {
  const char* text = std::getenv(("POLDER_POWER_LOSS_" + name).c_str());
  return text ? std::stoull(text) : usual;
}

/// The kernel's boot id, as this process sees it.
void pretend_boot(std::size_t number) {
  static const bool mounted = [] {
    std::ofstream("/run/boot_id") << "";
    return ::mount("/run/boot_id", "/proc/sys/kernel/random/boot_id", nullptr, MS_BIND, nullptr) == 0;
  }();
  if (!mounted) throw std::runtime_error("cannot replace the boot id");
  std::ofstream("/run/boot_id") << fmt::format("{:08x}-0000-4000-8000-000000000000\n", number);
}

struct Case {
  const char* filesystem;
  std::uint32_t bricks;
};

class PowerLossTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    log::configure("power-loss", log::Level::kInfo, setting("AT", 0) ? "" : kLog);
    for (std::uint32_t i = 0; i < GetParam().bricks; ++i) bricks_.push_back(lossy_.directory(i) + "/brick");
    pretend_boot(0);
    GuestVolume(loop_, *disk_, bricks_).format();
    lossy_.start_logging();
  }

  void run_clients(FileOps& ops, std::vector<std::unique_ptr<VolumeClient>>& clients) {
    TaskGroup group("clients");
    for (auto& client : clients)
      group.spawn(loop_.executor(),
                  client->act(ops, static_cast<int>(setting("STEPS", 30 / GetParam().bricks))));
    loop_.run_until_done(group.wait_idle(), std::chrono::seconds(300));
  }

  /// With a restart in the middle, and an orderly end: the mark of a closed brick comes and goes.
  void run_workload() {
    Clients all;
    std::vector<std::unique_ptr<VolumeClient>> clients;
    auto acknowledged = [&](std::size_t number) {
      lossy_.mark(std::to_string(number));
      history_.acknowledged(number);
    };
    for (std::size_t i = 0; i < kClients; ++i)
      clients.push_back(
          std::make_unique<VolumeClient>(i, setting("SEED", 1) * 100 + i, all, history_, acknowledged));
    GuestVolume volume(loop_, *disk_, bricks_);
    for (int round = 0; round < 2; ++round) {
      volume.start();
      run_clients(volume.top(), clients);
      if (round == 1) EXPECT_THAT(volume.problems(), testing::IsEmpty());
      if (round == 1)
        EXPECT_THAT(history_.problems(volume.look(), history_.acknowledgements()), testing::IsEmpty());
      volume.stop();
    }
    EXPECT_THAT(all.unexpected, testing::IsEmpty());
  }

  /// Of the first failure: what was on the disks, what the start did, and the logs.
  void tell(const std::string& before, const GuestVolume& volume, std::uintmax_t log_end) {
    fmt::print("before the start\n{}{}", before, volume.records());
    std::ifstream log(kLog);
    log.seekg(static_cast<std::streamoff>(log_end));
    for (std::string line; std::getline(log, line);) fmt::print("{}\n", line);
  }

  /// The disk as it is now gets power again.
  void look(std::size_t acks, std::mt19937_64* torn) {
    pretend_boot(++boots_);
    lossy_.power_on(torn);
    std::string before;
    for (const auto& brick : bricks_) before += fmt::format("brick {}:\n{}", brick, names_on_disk(brick));
    const auto log_end = std::filesystem::exists(kLog) ? std::filesystem::file_size(kLog) : 0;
    const bool had_failed = HasFailure();
    {
      GuestVolume volume(loop_, *disk_, bricks_);
      volume.start();
      EXPECT_THAT(volume.problems(), testing::IsEmpty());
      const auto found = volume.look();
      EXPECT_THAT(history_.problems(found, acks), testing::IsEmpty());
      if (HasFailure() && !had_failed) tell(before, volume, log_end);
      doubled_ += history_.doubled(found, acks).size();
      for (const auto& [name, gfid] : found.names) lost_and_found_ += name.name.starts_with("lost+found");
      volume.try_change();
      volume.stop();
    }
    lossy_.power_off();
    certain_ += history_.certain(acks);
  }

  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  RealLoop loop_;
  LossyDisk lossy_{*disk_, GetParam().filesystem, GetParam().bricks};
  std::vector<std::string> bricks_;
  History history_{kClients};
  std::size_t boots_ = 0, lost_and_found_ = 0, doubled_ = 0, certain_ = 0;
};

TEST_P(PowerLossTest, WhatWasSyncedIsThereAfterEachFlush) {
  run_workload();
  lossy_.stop_logging();
  if (HasFailure()) return;

  const auto& writes = lossy_.writes();
  std::vector<std::size_t> flushes;
  for (std::size_t i = 0; i < writes.size(); ++i)
    if (writes[i].is_durable()) flushes.push_back(i);
  const auto only = setting("AT", 0), every = setting("EVERY", 1);
  fmt::print("{} writes, {} flushes, {} acknowledged syncs\n", writes.size(), flushes.size(),
             history_.acknowledgements());
  std::size_t acks = 0, at = 0;
  for (std::size_t i = 0; i < flushes.size() && !HasFatalFailure(); ++i) {
    // What was acknowledged before the next flush was so without that one.
    const auto next = i + 1 < flushes.size() ? flushes[i + 1] : writes.size();
    for (; at < next; ++at)
      if (writes[at].mark && writes[at].text != "dm-log-writes-end") acks = std::stoull(writes[at].text) + 1;
    if (only ? i != only : i % every != 0) continue;
    lossy_.advance(flushes[i]);
    SCOPED_TRACE(fmt::format("flush {} of {}, after {} acknowledgements", i, flushes.size(), acks));
    ASSERT_NO_THROW(look(acks, nullptr));
    if (i % 4 != 0 && !only) continue;
    SCOPED_TRACE("and some of the writes after it");
    std::mt19937_64 torn(i);
    ASSERT_NO_THROW(look(acks, &torn));
  }
  fmt::print("{} starts, {} names and files certain each; {} in lost+found, {} renamed and in both places\n",
             boots_, certain_ / std::max<std::size_t>(boots_, 1), lost_and_found_, doubled_);
}

INSTANTIATE_TEST_SUITE_P(FileSystems, PowerLossTest,
                         testing::Values(Case{"xfs", 1}, Case{"xfs", 3}, Case{"ext4", 1}, Case{"ext4", 3},
                                         Case{"btrfs", 1}, Case{"btrfs", 3}),
                         [](const auto& test) {
                           return fmt::format("{}_{}", test.param.filesystem, test.param.bricks);
                         });

}  // namespace
}  // namespace polder
