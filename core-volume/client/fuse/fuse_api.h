// SPDX-License-Identifier: GPL-3.0-or-later
// The one place that includes libfuse, so that every file of this folder sees the same version of it.
#pragma once
#define FUSE_USE_VERSION 312  // 3.12's loop configuration and structures; Debian 12 has 3.14
#include <fuse3/fuse_lowlevel.h>
