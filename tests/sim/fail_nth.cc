// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/fail_nth.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace polder {

namespace {

constexpr const char* kMachine = "machine";
constexpr const char* kNetwork = "network";
constexpr int kMostFailures = 3;

std::string_view to_string(FaultKind kind) {
  switch (kind) {
    case FaultKind::kNone:
      return "none";
    case FaultKind::kError:
      return "error";
    case FaultKind::kErrorThenPowerLoss:
      return "error-then-power-loss";
    case FaultKind::kNoRoom:
      return "no-room";
    case FaultKind::kDeath:
      return "death";
    case FaultKind::kPowerLoss:
      return "power-loss";
    case FaultKind::kReset:
      return "reset";
    case FaultKind::kTimeout:
      return "timeout";
  }
  return "?";
}

bool can_lack_room(std::string_view call) {
  for (const auto* name : {"open", "pwrite", "pwritev", "fallocate", "clone_range", "set_xattr",
                           "set_xattr_at", "mkdir", "mknod", "symlink", "link", "link_file", "rename"})
    if (call == name) return true;
  return false;
}

/// What act() calls, by place.
using Calls = std::map<std::string, std::vector<std::string>>;

/// Counts the calls of a scenario from its making on, and lets the one go wrong that the fault names.
class Injector {
 public:
  Injector(FailNthScenario& scenario, const Fault& fault) : scenario_(scenario), fault_(fault) {
    disks_ = scenario.disks();
    for (const auto& [name, disk] : disks_) {
      disk->on_call([this, &name, disk](std::string_view call) { on_disk(name, *disk, std::string(call)); });
    }
    network_ = scenario.network();
    if (!network_) return;
    network_->on_call([this](const std::string& call) { on_network(call); });
    if (fault_.place == kNetwork)
      network_->fail_nth(fault_.call, fault_.kind == FaultKind::kReset ? ECONNRESET : ETIMEDOUT);
  }
  ~Injector() {
    for (const auto& [name, disk] : disks_) disk->on_call({});
    if (network_) network_->on_call({});
  }
  Injector(const Injector&) = delete;

  Calls calls;

 private:
  bool is_due(const std::string& place) const {
    return place == fault_.place && calls.at(place).size() == fault_.call;
  }
  void on_disk(const std::string& name, SimDisk& disk, const std::string& call) {
    calls[name].push_back(call);
    calls[kMachine].push_back(name + " " + call);
    if (is_due(kMachine)) {
      for (const auto& [other, one] : disks_) one->freeze();
      scenario_.set_fired();
      scenario_.on_freeze();
    } else if (is_due(name)) {
      disk.fail_nth(1, fault_.kind == FaultKind::kNoRoom ? ENOSPC : EIO);
      scenario_.set_fired();
    }
  }
  void on_network(const std::string& call) {
    calls[kNetwork].push_back(call);
    if (is_due(kNetwork)) scenario_.set_fired();
  }

  FailNthScenario& scenario_;
  const Fault fault_;
  std::map<std::string, SimDisk*> disks_;
  SimNetwork* network_ = nullptr;
};

Calls run(const std::function<std::unique_ptr<FailNthScenario>()>& make, const Fault& fault) {
  Calls calls;
  try {
    auto scenario = make();
    scenario->prepare();
    {
      Injector injector(*scenario, fault);
      scenario->act();
      calls = std::move(injector.calls);
    }
    EXPECT_TRUE(scenario->fired() || fault.kind == FaultKind::kNone) << "another run without this call?";
    scenario->judge(fault);
  } catch (const std::exception& failure) {
    ADD_FAILURE() << failure.what();
  }
  return calls;
}

bool is_of(FaultKind kind, const std::string& place, const std::string& call) {
  switch (kind) {
    case FaultKind::kReset:
    case FaultKind::kTimeout:
      return place == kNetwork;
    case FaultKind::kDeath:
    case FaultKind::kPowerLoss:
      return place == kMachine;
    case FaultKind::kNoRoom:
      return place != kMachine && place != kNetwork && can_lack_room(call);
    default:
      return place != kMachine && place != kNetwork;
  }
}

struct Planned {
  Fault fault;
  std::string call;
};

/// All faults of one kind.
std::vector<Planned> plan(FaultKind kind, const Calls& calls, std::uint64_t power_losses) {
  std::vector<Planned> list;
  for (const auto& [place, names] : calls) {
    for (std::uint64_t n = 1; n <= names.size(); ++n) {
      Fault fault{.kind = kind, .place = place, .call = n, .seed = n};
      if (!is_of(kind, place, names[n - 1])) continue;
      for (std::uint64_t i = 0; i < (fault.ends_power() ? power_losses : 1); ++i, fault.seed += 1000)
        list.push_back({fault, names[n - 1]});
    }
  }
  return list;
}

}  // namespace

std::string Fault::text() const {
  return fmt::format("{}:{}:{}:{}", to_string(kind), place, call, seed);
}

void for_each_call(const std::string& name, const std::function<std::unique_ptr<FailNthScenario>()>& make,
                   const FailNthOptions& options) {
  const bool all = std::getenv("POLDER_LONG_TESTS");
  const char* only = std::getenv("POLDER_FAULT");
  const char* seed = std::getenv("POLDER_SIM_SEED");
  const std::uint64_t every = all || only ? 1 : options.every;
  std::uint64_t at = seed ? std::strtoull(seed, nullptr, 10) : 0;
  const Calls calls = run(make, {});
  std::size_t faults = 0, counted = 0;
  int failures = 0;
  for (FaultKind kind : options.kinds) {
    const auto planned = plan(kind, calls, all || only ? 3 : 1);
    EXPECT_FALSE(planned.empty()) << name << " makes no call that could fail by " << to_string(kind);
    counted += planned.size();
    for (std::size_t i = at % every; i < planned.size() && failures < kMostFailures; i += every) {
      const auto& [fault, call] = planned[i];
      if (only && fault.text() != only) continue;
      ++faults;
      SCOPED_TRACE(fmt::format("{}: call {} of {}, {}; to repeat: POLDER_FAULT={}", name, fault.call,
                               fault.place, call, fault.text()));
      const auto before = testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
      run(make, fault);
      const auto after = testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
      if (after != before) ++failures;
    }
    ++at;  // another call for each kind
  }
  fmt::print("{}: {} of {} faults", name, faults, counted);
  for (const auto& [place, made] : calls) fmt::print(", {} calls of {}", made.size(), place);
  fmt::print("\n");
}

}  // namespace polder
