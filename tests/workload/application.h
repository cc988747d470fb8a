// SPDX-License-Identifier: GPL-3.0-or-later
// Application: one program that changes a volume at random, as a function of its seed: every kind of change,
// on few names, so that they meet. An error that no application may see is kept as failure().
#pragma once
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "core-volume/layer/file_ops.h"

namespace polder {

struct ApplicationOptions {
  std::uint32_t max_write_bytes = 4096;               // up to 4096 travel in the log
  nanoseconds pause = std::chrono::milliseconds(10);  // between two operations, on average
};

class Application {
 public:
  Application(FileOps& ops, Clock& clock, Random& random, ApplicationOptions options = {});

  /// So many operations; many of them fail, since names are taken, missing or of the wrong type.
  Task<void> run(int operations);
  int changes() const { return changes_; }
  const std::string& failure() const { return failure_; }

 private:
  Task<void> step();
  Task<void> write_new();
  Task<void> write_old();
  Task<void> rewrite();  // as editors do: a new file, renamed over the old one
  Task<void> change_names();
  Task<void> change_attributes();
  Task<void> change_bytes();
  Task<void> make_object();

  Task<void> write_pieces(Opened opened);
  Gfid directory();
  std::string name();
  Task<Gfid> object();  // of some name; nil when there is none
  std::string bytes(std::uint64_t length);
  template <typename T>
  bool worked(const Result<T>& result);

  FileOps& ops_;
  Clock& clock_;
  Random& random_;
  const ApplicationOptions options_;
  std::vector<Gfid> directories_{Gfid::root()};
  OpContext context_;
  int changes_ = 0;
  std::string failure_;
};

}  // namespace polder
