// SPDX-License-Identifier: GPL-3.0-or-later
// BarrierLayer: holds changes at the door while a snapshot is taken. Reads pass; a change that is held is
// merely late, never failed.
#pragma once
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "core-volume/layer/hook.h"

namespace polder {

/// One barrier at a time, named by its epoch, which its owner never uses twice. Falls by itself at its hard
/// limit, whoever has died meanwhile; no background task is needed for that, since each held change waits no
/// longer than the limit.
class BarrierLayer : public HookLayer {
 public:
  /// `clock` outlives the layer.
  BarrierLayer(FileOps& below, Clock& clock);
  ~BarrierLayer() override;

  /// Holds new changes from now on and returns when none is in flight. EBUSY while another barrier is up.
  /// ETIMEDOUT when changes in flight do not end within `hard_limit`, ECANCELED when the caller is cancelled:
  /// then the barrier is down again.
  Task<Result<void>> raise(std::uint64_t epoch, nanoseconds hard_limit);
  /// Lets changes through; returns for how long it was up. ETIMEDOUT when this barrier had fallen by itself:
  /// what was done behind it must be discarded. EINVAL when no barrier of this epoch was raised last.
  Result<nanoseconds> lower(std::uint64_t epoch);

  bool is_up() const;
  std::size_t in_flight() const;  // changes below this layer
  std::size_t held() const;       // changes that wait at the barrier

 private:
  class Gate;
  BarrierLayer(FileOps& below, std::shared_ptr<Gate> gate);

  std::shared_ptr<Gate> gate_;
};

}  // namespace polder
