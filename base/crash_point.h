// SPDX-License-Identifier: GPL-3.0-or-later
// Named crash points: places where a test kills the process (real daemons) or the node (simulation).
#pragma once
#include <string_view>

namespace polder {

/// Costs one relaxed load unless armed. Armed by POLDER_CRASH_POINT=NAME[:N] in the environment: the N-th
/// passage (default 1) ends the process with SIGKILL; or by arm_crash_point() in tests.
void crash_point(std::string_view name);

/// The handler runs instead of SIGKILL; empty name disarms. Tests only.
void arm_crash_point(std::string_view name, unsigned passage, void (*handler)());

}  // namespace polder
