// SPDX-License-Identifier: GPL-3.0-or-later
// TestVolume: a volume in memory, mounted once or several times in temporary directories and served by a
// thread of its own, so that a test can make real system calls. Plus what such tests share.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core-volume/client/fuse/fuse_server.h"
#include "core-volume/layer/hook.h"

namespace polder {

class TestVolume {
 public:
  struct Options {
    std::size_t mounts = 1;
    std::chrono::nanoseconds timeout = std::chrono::seconds(1);  // of attributes and entries
    bool invalidations = false;                                  // each mount hears of the others' changes
    std::shared_ptr<Hook> hook = {};                             // around every operation of every mount
    bool attributes_at_open = true;
    unsigned long mount_flags = 0;
    std::function<void()> forgotten = [] {};
  };

  TestVolume();
  explicit TestVolume(Options options);
  /// Unmounts, if unmount() was not called, and expects every handle to be given back.
  ~TestVolume();

  /// A path in mount `mount`.
  std::string path(std::string_view below, std::size_t mount = 0) const;
  FuseServer::Stats stats(std::size_t mount = 0);
  /// FuseServer::stop() of all mounts; returns when run() has returned for all.
  void unmount();
  /// Runs `function` on the loop thread and waits for it.
  void on_loop(const std::function<void()>& function);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Like the shell's: whole files. Failures are test failures.
void write_file(const std::string& path, std::string_view text, int flags = 0);
std::string read_file(const std::string& path);
struct stat stat_of(const std::string& path);
/// 0, or the errno of a failed call: EXPECT_EQ(errno_of(unlink(p)), ENOENT).
int errno_of(long returned);
/// Waits up to 10 s for something that another thread or process brings about.
bool eventually(const std::function<bool()>& condition);
/// Runs `body` in a child process (as `uid` when not 0) and returns its exit status, or -signal.
int in_child(const std::function<int()>& body, unsigned uid = 0);
/// Different for each seed; the same each time.
std::string pattern(std::size_t size_bytes, unsigned seed = 1);

}  // namespace polder
