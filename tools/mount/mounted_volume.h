// SPDX-License-Identifier: GPL-3.0-or-later
// The life of one mount: connect, mount, serve until it is unmounted or told to end.
#pragma once
#include "tools/mount/launcher.h"
#include "tools/mount/mount_request.h"

namespace polder {

constexpr int kMountFailed = 32;  // mount(8)'s exit status

/// Returns the exit status when the mount has ended.
int serve_mount(const MountRequest& request, Report& report);

}  // namespace polder
