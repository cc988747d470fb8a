// SPDX-License-Identifier: GPL-3.0-or-later
// An activated snapshot: its store, opened read-only, and the layers that clients meet.
#pragma once
#include <memory>

#include "core-volume/layers/locks/locks_layer.h"
#include "core-volume/layers/snapshot_view/read_only_layer.h"
#include "core-volume/rpc/server.h"
#include "snapshot/coordinator/coordinator.h"

namespace polder {

struct SnapshotCoordinator::Active {
  Active(Seams& seams, std::unique_ptr<Store> opened)
      : store(std::move(opened)), view(seams.workers, *store), locks(view, seams.clock) {}

  std::unique_ptr<Store> store;
  ReadOnlyLayer view;
  LocksLayer locks;
};

}  // namespace polder
