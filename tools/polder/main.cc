// SPDX-License-Identifier: GPL-3.0-or-later
// polder: the command line.
#include <csignal>
#include <iostream>

#include "base/log.h"
#include "tools/polder/cli.h"

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_DFL);  // `polder changelog show VOL | head` just ends
  polder::log::configure("polder", polder::log::Level::kWarning);
  polder::Cli cli(std::cout, std::cerr);
  return cli.run({argv + 1, argv + argc});
}
