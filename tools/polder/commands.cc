// SPDX-License-Identifier: GPL-3.0-or-later
// The list of all subjects, in the order of `polder --help`.
#include "tools/polder/cli.h"

namespace polder {

void add_commands(Cli& cli) {
  add_cluster_commands(cli);
  add_client_commands(cli);
  add_volume_commands(cli);
  add_volume_status_commands(cli);
  add_usage_commands(cli);
  add_option_commands(cli);
  add_georep_commands(cli);
  add_snapshot_commands(cli);
  add_brick_commands(cli);
  add_add_brick_commands(cli);
  add_changelog_commands(cli);
  add_doctor_command(cli);
  add_completion_command(cli);
}

}  // namespace polder
