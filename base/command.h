// SPDX-License-Identifier: GPL-3.0-or-later
// Running another program (btrfs, lvm, mount): an argument vector, never a shell. Blocks: call on a worker.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace polder {

struct CommandOutput {
  int status = 0;  // exit status; 128 + signal when it was killed
  std::string out;
  std::string err;
};

/// Runs argv[0] (found in PATH) with empty standard input, LC_ALL=C, and no descriptors of ours. ENOENT when
/// there is no such program; ETIMEDOUT after `limit` (it is killed then). A status other than 0 is not an
/// error here.
Result<CommandOutput> run_command(const std::vector<std::string>& argv,
                                  std::chrono::seconds limit = std::chrono::seconds(120));

/// The same where only success will do: EIO with the command line and what it printed to standard error.
Result<std::string> run_command_checked(const std::vector<std::string>& argv,
                                        std::chrono::seconds limit = std::chrono::seconds(120));

/// Programs outlive a process that is killed, and would go on to change what its successor looks at. Once per
/// process: takes the lock file `path`, which every program that is run from now on holds, too, for as long
/// as it lives. Waits up to `limit` for the programs of a killed predecessor to end; EBUSY then, and another
/// call may follow. Nothing when this process has the lock.
Result<void> own_commands(const std::string& path, std::chrono::seconds limit);

}  // namespace polder
