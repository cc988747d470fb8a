// SPDX-License-Identifier: GPL-3.0-or-later
// What a mount holds, as text: its connection, the requests in flight with their age, the kernel's inodes.
#pragma once
#include <string>

#include "base/clock.h"
#include "base/disk.h"
#include "core-volume/client/cache/cache_layer.h"
#include "core-volume/client/fuse/fuse_server.h"
#include "core-volume/rpc/client.h"

namespace polder {

struct MountDump {
  std::string source;
  std::string directory;
  nanoseconds started{};  // wall time
  nanoseconds now{};
};

/// Lists are cut at a thousand entries.
/// `cache` may be null.
std::string dump_text(const MountDump& dump, const RpcClient& client, const CacheLayer* cache,
                      const FuseServer& server);
/// /run/polder/mount-DIR.PID.dump.TIME, readable by root only; `directory`: instead of /run/polder. Blocks.
Result<std::string> write_mount_dump(Disk& disk, const MountDump& dump, const std::string& text,
                                     const std::string& directory = "/run/polder");

}  // namespace polder
