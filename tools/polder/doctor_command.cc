// SPDX-License-Identifier: GPL-3.0-or-later
// polder doctor: is all well, and what to do if not.
#include <CLI/CLI.hpp>

#include "tools/polder/cli.h"

namespace polder {

namespace {

int doctor(Cli& cli) {
  auto findings = cli.call("GET", "/v1/doctor");
  if (!findings) return cli.fail(findings.error());
  std::string text;
  bool degraded = false;
  for (const auto& item : findings->get_array()) {
    const auto& finding = item.as_object();
    bool ok = finding.at("ok").as_bool();
    degraded = degraded || !ok;
    text +=
        fmt::format("{:<4} {}: {}\n", ok ? "ok" : "BAD", shown(finding, "check"), shown(finding, "detail"));
    if (!ok) text += fmt::format("       fix: {}\n", shown(finding, "fix"));
  }
  cli.done(*findings, text);
  return degraded ? kDegraded : kDone;
}

}  // namespace

void add_doctor_command(Cli& cli) {
  cli.command(cli.app(), "doctor", "Daemon, clock, certificates, space: each finding with its fix",
              "polder doctor", [&cli] { return doctor(cli); });
}

}  // namespace polder
