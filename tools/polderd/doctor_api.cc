// SPDX-License-Identifier: GPL-3.0-or-later
// The route of `polder doctor`: what this node can see of itself, each finding with its fix.
#include "base/clock.h"
#include "base/command.h"
#include "base/coro.h"
#include "base/on_worker.h"
#include "core-volume/cluster/units.h"
#include "tools/polderd/daemon.h"

namespace polder {

namespace {

struct Findings {
  json::array list;
  /// `fix` empty: all is well.
  void add(std::string_view what, std::string detail, std::string fix = {}) {
    list.push_back(json::object{{"check", what}, {"ok", fix.empty()}, {"detail", detail}, {"fix", fix}});
  }
};

void check_certificate_age(Findings& findings, const Daemon& daemon, std::int64_t now_s) {
  constexpr std::int64_t kSoon_s = 30 * 86'400;
  auto facts = read_certificate(daemon.identity().certificate.certificate_pem);
  if (!facts) {
    findings.add("certificate", facts.error().message(), "restore the state directory from a backup");
    return;
  }
  auto until = format_time(static_cast<std::uint64_t>(facts->not_after_s) * 1'000'000'000);
  bool soon = facts->not_after_s - now_s < kSoon_s;
  findings.add("certificate", "good until " + until, soon ? "restart polderd, which renews it" : "");
}

void check_clock(Findings& findings, std::int64_t now_s) {
  constexpr std::int64_t kBuilt_s = 1'735'689'600;  // 2025: before it no Polder was ever built
  auto now = format_time(static_cast<std::uint64_t>(now_s) * 1'000'000'000);
  findings.add("clock", now,
               now_s < kBuilt_s ? "the clock is wrong; set it, and run chrony or systemd-timesyncd" : "");
}

Task<void> check_brick(Findings& findings, std::string volume, VolumeStack& stack, BrickSpec spec) {
  auto what = fmt::format("space of {} on {}", volume, spec.text());
  auto brick = stack.brick(spec.set);
  if (!brick) co_return;  // it is among what is degraded
  const OpContext inside;
  auto space = co_await brick->top().statfs(inside);
  if (!space) {
    findings.add(what, space.error().message(), "see the log of polderd");
    co_return;
  }
  auto percent = space->blocks == 0 ? 0 : 100 * space->blocks_available / space->blocks;
  auto text = fmt::format("{} of {} available ({} %)",
                          format_size_rounded(space->blocks_available * space->block_size),
                          format_size_rounded(space->blocks * space->block_size), percent);
  findings.add(what, text, percent < 10 ? "remove files or enlarge the brick's file system" : "");
}

Task<void> check_space(Findings& findings, Daemon& daemon, std::string name) {
  auto use = daemon.node().volumes.use(name);
  if (!use) co_return;
  const auto bricks = (*use)->info.bricks;
  for (const auto& spec : bricks) co_await check_brick(findings, name, use->stack(), spec);
}

Task<Result<json::value>> doctor(Daemon& daemon) {
  Findings findings;
  auto& seams = daemon.node().seams;
  auto now_s = std::chrono::duration_cast<std::chrono::seconds>(seams.clock.wall_time()).count();
  findings.add("polderd",
               fmt::format("version {}, since {}", POLDER_VERSION, format_time(daemon.started_ns())));
  check_clock(findings, now_s);
  if (!daemon.identity().ready()) {
    findings.add("cluster", "none", "polder cluster init");
    co_return std::move(findings.list);
  }
  findings.add("cluster", daemon.identity().cluster.name);
  check_certificate_age(findings, daemon, now_s);
  for (const auto& sentence : daemon.degraded()) findings.add("running", sentence, "see the log of polderd");
  auto names = daemon.node().volumes.running_names();
  for (const auto& name : names) co_await check_space(findings, daemon, name);
  auto btrfs = co_await on_worker(seams.workers, [] { return run_command({"btrfs", "version"}); });
  findings.add("btrfs tools", btrfs ? "installed" : "missing",
               btrfs ? "" : "apt install btrfs-progs (only for bricks and snapshots on btrfs)");
  co_return std::move(findings.list);
}

}  // namespace

void add_doctor_routes(AdminApi& api, Daemon& daemon) {
  api.add("GET", "/v1/doctor", [&daemon](const AdminRequest&) { return doctor(daemon); });
}

}  // namespace polder
