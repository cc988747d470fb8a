// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/stats/op_counters.h"

namespace polder {

void OpCounters::failed(int code) {
  ++errors;
  for (auto& known : by_errno) {
    if (known.code == 0) known.code = &known == &by_errno.back() ? -1 : code;
    if (known.code != code && known.code != -1) continue;
    ++known.count;
    return;
  }
}

void OpCounters::subtract(const OpCounters& earlier) {
  count -= earlier.count;
  errors -= earlier.errors;
  bytes -= earlier.bytes;
  total_ns -= earlier.total_ns;
  latency.subtract(earlier.latency);
  // A place once taken keeps its code, so the same place is the same code.
  for (std::size_t i = 0; i < kErrnos; ++i) by_errno[i].count -= earlier.by_errno[i].count;
}

void BrickCounters::subtract(const BrickCounters& earlier) {
  for (std::size_t i = 0; i < kOpKinds; ++i) ops[i].subtract(earlier.ops[i]);
  read_sizes.subtract(earlier.read_sizes);
  write_sizes.subtract(earlier.write_sizes);
}

}  // namespace polder
