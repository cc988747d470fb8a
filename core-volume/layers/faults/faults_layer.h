// SPDX-License-Identifier: GPL-3.0-or-later
// FaultsLayer: fails or delays chosen operations, for tests of whatever is above it. Nothing armed: costs one
// check an operation.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "core-volume/layer/hook.h"

namespace polder {

/// The Nth operation that matches fails with `error`.
struct Fault {
  std::optional<OpKind> kind = std::nullopt;  // none: any operation
  bool changes_only = false;
  std::uint64_t nth = 1;  // counted since arm(); 1: the next that matches
  bool forever = false;   // and all that match after it
  int error = EIO;        // 0: only the delay
  /// After: the operation was carried out, and its answer gets lost: the error says maybe_applied().
  bool after = false;
  nanoseconds delay{0};  // slept before the operation (or before the answer, with `after`)
};

class FaultsLayer : public HookLayer {
 public:
  FaultsLayer(FileOps& below, Clock& clock);

  /// Replaces what was armed, and starts counting from 0.
  void arm(const Fault& fault);
  void disarm();
  std::uint64_t matched() const;  // operations that matched since arm()
  std::uint64_t fired() const;    // those that were failed or delayed

 private:
  class Injector;
  FaultsLayer(FileOps& below, std::shared_ptr<Injector> injector);

  std::shared_ptr<Injector> injector_;
};

}  // namespace polder
