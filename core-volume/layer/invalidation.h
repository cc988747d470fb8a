// SPDX-License-Identifier: GPL-3.0-or-later
// Invalidations: what travels against the direction of operations, from bricks to client caches. Advisory and
// asynchronous: correctness rests on revalidation at open (docs/coherence.md), this only makes it prompt.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "changelog/record/record.h"

namespace polder {

struct Invalidation {
  Gfid gfid;                         // attributes and data of this object changed; nil: everything (restore)
  std::optional<EntryName> entry;    // this name appeared, vanished or shows something else
  std::uint32_t origin_session = 0;  // whoever made the change needs no telling
};

class InvalidationSource {
 public:
  virtual ~InvalidationSource() = default;
  /// One listener, called on the loop thread; it must not block or call back.
  virtual void on_invalidation(std::function<void(const Invalidation&)> listener) = 0;
};

}  // namespace polder
