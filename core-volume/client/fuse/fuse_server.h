// SPDX-License-Identifier: GPL-3.0-or-later
// FuseServer: a volume as a file system of this machine: answers the kernel's FUSE requests from any FileOps.
// What applications may rely on is docs/coherence.md.
//
// Life: mount() → run() on the loop until somebody unmounts or stop() is called. Loop thread only.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "core-volume/layer/attribute_source.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layer/invalidation.h"

namespace polder {

struct FuseOptions {
  std::string mountpoint;         // an existing directory, absolute
  std::string source;             // what mount(8) and df show: HOST:/VOLUME
  unsigned long mount_flags = 0;  // MS_*: MS_RDONLY, MS_NOATIME, …
  Gfid root = Gfid::root();       // a directory of the volume
  std::chrono::nanoseconds attribute_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds entry_timeout = std::chrono::seconds(1);
  AttributeSource* attributes = nullptr;  // saves questions; outlives the server
  /// The kernel has let go of most of what it knew (a large tree is gone, or memory is short): what is
  /// remembered for it elsewhere may go, too. Called on the loop thread, not inside an operation.
  std::function<void()> forgotten = [] {};
  bool invalidate_attributes_at_open = true;  // off only to show in a test what it is for
};

class FuseServer {
 public:
  /// `invalidations` may be null. Everything given outlives the server.
  FuseServer(FileOps& volume, InvalidationSource* invalidations, Clock& clock, FuseOptions options);
  ~FuseServer();  // after run() has returned (or was never called)
  FuseServer(const FuseServer&) = delete;

  /// Makes the mount; requests wait in the kernel until run(). Errors say what to do: EPERM (not root),
  /// ENODEV/ENOENT (no /dev/fuse), ENOTDIR, EBUSY.
  Result<void> mount();
  /// Serves until the file system is unmounted; then every request is answered and every handle given back.
  Task<Result<void>> run();
  /// Unmounts. Applications that hold files open are given `grace` to close them; then run() ends all the
  /// same and they get ENOTCONN. Returns once the mount is gone from the tree.
  Task<Result<void>> stop(std::chrono::nanoseconds grace = std::chrono::seconds(1));

  struct Stats {
    std::size_t objects = 0;    // known to the kernel, the root not counted
    std::uint64_t lookups = 0;  // that the kernel has not taken back
    std::size_t open_files = 0;
    std::uint64_t requests = 0;
    std::uint64_t invalidations = 0;  // told to the kernel
  };
  Stats stats() const;
  /// What the kernel knows, for statedumps; at most `most` objects.
  struct Object {
    Gfid gfid;
    std::uint64_t lookups = 0;
    std::uint32_t mode = 0;
    std::uint32_t open_files = 0;
  };
  std::vector<Object> objects(std::size_t most) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polder
