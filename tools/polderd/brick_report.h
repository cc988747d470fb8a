// SPDX-License-Identifier: GPL-3.0-or-later
// What a running brick can tell about itself, gathered in one go: for status, metrics and statedumps. The one
// place in the daemon that knows where a running volume keeps its bricks.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core-volume/node/volumes.h"

namespace polder {

/// A brick of a running volume. Whoever has one keeps it from being closed: for one operation, no longer.
struct RunningBrick {
  std::shared_ptr<const BrickSpec> spec;
  std::shared_ptr<Brick> brick;
};
/// Those that run, in the order of the volume's bricks.
std::vector<RunningBrick> bricks_of(const VolumeUse& use);

/// The file system that a brick lies on. Texts are empty where they could not be found out.
struct FileSystemFacts {
  std::string type;  // "xfs"
  std::string device;
  std::string mount_point;
  std::string mount_options;
  std::uint32_t inode_size = 0;  // bytes; 0: this file system has no fixed size
};

struct BrickReport {
  VolumeSpace space;
  FileSystemFacts file_system;
  std::vector<Cursor> cursors;
  std::uint64_t first_index = 0, appended_index = 0, stable_index = 0, applied_index = 0;
  std::uint64_t changelog_bytes = 0;
  std::uint64_t changelog_segments = 0;
};

/// Looks at disks, on a worker. The caller keeps the volume in use.
Task<Result<BrickReport>> report_brick(Seams& seams, Brick& brick);

/// Of the file system that holds `path`. `mountinfo`: the text of /proc/self/mountinfo. Blocks.
FileSystemFacts file_system_of(const std::string& path, const std::string& mountinfo);

}  // namespace polder
