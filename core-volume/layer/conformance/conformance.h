// SPDX-License-Identifier: GPL-3.0-or-later
// The fixture of the suite. Each test starts with an empty volume; `c` is an ordinary client of it.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core-volume/layer/conformance/client.h"

namespace polder {

class Conformance : public testing::TestWithParam<ConformanceTarget> {
 protected:
  Conformance() : stack(GetParam().make()), c(*stack) {}

  const ConformanceFeatures& features() const { return GetParam().features; }

  const Gfid root = Gfid::root();
  std::unique_ptr<Stack> stack;
  Client c;
};

inline std::string conformance_name(const testing::TestParamInfo<ConformanceTarget>& info) {
  return info.param.name;
}

/// Times as numbers, so that they compare and print.
inline std::int64_t ns(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

}  // namespace polder
