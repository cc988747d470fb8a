// SPDX-License-Identifier: GPL-3.0-or-later
// Fail the n-th: an operation is done again and again, each time in a new world in which another one of its
// calls on disks or network goes wrong, until each of them has.
//
// A first run without a fault counts the calls. A world is a function of its seed, so the n-th call of a
// later run is the same one, up to the fault. A failure says which fault it was; POLDER_FAULT=… repeats it.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/sim_disk.h"
#include "tests/support/sim_transport.h"

namespace polder {

enum class FaultKind {
  kNone,
  kError,               // one call of a disk fails with EIO, and the process goes on
  kErrorThenPowerLoss,  // the same, and in the end the power goes
  kNoRoom,              // one call that can say so says ENOSPC
  kDeath,               // kill -9 at a call of any disk
  kPowerLoss,           // the power goes at a call of any disk
  kReset,               // a connection breaks: ECONNRESET
  kTimeout,             // or ETIMEDOUT
};

struct Fault {
  FaultKind kind = FaultKind::kNone;
  std::string place;       // a disk, "machine" (all of its disks), "network"
  std::uint64_t call = 0;  // of act(); 1 is the first one
  std::uint64_t seed = 1;  // of what a power loss takes

  bool ends_process() const { return kind == FaultKind::kDeath || kind == FaultKind::kPowerLoss; }
  bool ends_power() const { return kind == FaultKind::kPowerLoss || kind == FaultKind::kErrorThenPowerLoss; }
  /// "error:brick0:17:1".
  std::string text() const;
};

/// A world, and the operation in it.
class FailNthScenario {
 public:
  virtual ~FailNthScenario() = default;
  /// All that comes before; what is to survive a power loss is synced.
  virtual void prepare() = 0;
  /// The operation. Keeps what was acknowledged before fired() is true.
  virtual void act() = 0;
  /// Ends the process or the power if the fault says so, starts again, and looks.
  virtual void judge(const Fault& fault) = 0;
  /// Those whose calls may fail, by name. For the machine's end all of them freeze at once.
  virtual std::map<std::string, SimDisk*> disks() { return {}; }
  virtual SimNetwork* network() { return nullptr; }
  /// The disks have just frozen: nothing that the process still says may reach anybody.
  virtual void on_freeze() {}

  bool fired() const { return fired_; }
  void set_fired() { fired_ = true; }

 private:
  bool fired_ = false;
};

struct FailNthOptions {
  std::vector<FaultKind> kinds;
  /// Of each kind one call of so many, another one with each POLDER_SIM_SEED from 0 to `every` - 1.
  /// POLDER_LONG_TESTS: all, and each power loss with three seeds.
  std::uint64_t every = 1;
};

/// Ends at the third fault whose world is not well. Prints how many calls and faults there were.
void for_each_call(const std::string& name, const std::function<std::unique_ptr<FailNthScenario>()>& make,
                   const FailNthOptions& options);

}  // namespace polder
