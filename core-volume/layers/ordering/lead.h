// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer::Led: a transaction on its way, in the frame of the operation that leads it.
#pragma once
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

struct OrderingLayer::Led {
  Led(OrderingLayer& layer, RecordKind kind);
  Led(const Led&) = delete;
  ~Led();
  /// Lets go of this set's own part.
  void show();

  Record record;
  bool locks_tree = false;
  TxFacts facts;
  std::set<std::uint32_t> prepared;  // other sets that may hold something
  KeyLocks::Guard held;              // of this set
  std::vector<std::string> hidden;

 private:
  OrderingLayer& layer_;
};

}  // namespace polder
