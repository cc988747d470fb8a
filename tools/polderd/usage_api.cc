// SPDX-License-Identifier: GPL-3.0-or-later
// Routes of `volume top` and `volume profile`: what the stats layer of each brick has counted.
#include "base/clock.h"
#include "base/coro.h"
#include "base/on_worker.h"
#include "core-volume/cluster/units.h"
#include "core-volume/cluster/volume_options.h"
#include "tools/polderd/brick_report.h"
#include "tools/polderd/daemon.h"
#include "tools/polderd/paths.h"
#include "tools/polderd/readable.h"

namespace polder {

namespace {

constexpr const char* kProfileOption = "diagnostics.profile";
constexpr std::size_t kTopMost = 100;              // as GlusterFS's
constexpr std::size_t kNamesLookedAt = 1'000'000;  // for paths

struct TopKind {
  std::string_view name;
  StatsLayer::Top top;
  bool by_rate;
};
using Top = StatsLayer::Top;
constexpr TopKind kTopKinds[] = {{"open", Top::kOpen, false},       {"read", Top::kRead, false},
                                 {"write", Top::kWrite, false},     {"opendir", Top::kOpendir, false},
                                 {"readdir", Top::kReaddir, false}, {"read-perf", Top::kRead, true},
                                 {"write-perf", Top::kWrite, true}};

Result<TopKind> top_kind(const std::string& name) {
  for (const auto& kind : kTopKinds) {
    if (kind.name == name) return kind;
  }
  return Error(EINVAL).with("top of '{}': say open, read, write, opendir, readdir, read-perf or write-perf",
                            name);
}

/// Numbers in a query are texts.
Result<std::size_t> count_of(const AdminRequest& request) {
  TRY(auto text, json::string_field_or(request.body, "count", std::to_string(kTopMost)));
  auto number = parse_size(text);
  if (!number || *number < 1 || *number > kTopMost) {
    return Error(ERANGE).with("list-cnt {}: a number from 1 to {}", text, kTopMost);
  }
  return static_cast<std::size_t>(*number);
}

/// The bricks that are meant: all, or the one named.
Result<std::vector<RunningBrick>> bricks_named(const VolumeUse& use, const AdminRequest& request) {
  TRY(auto name, json::string_field_or(request.body, "brick", ""));
  auto bricks = bricks_of(use);
  if (name.empty()) return bricks;
  std::erase_if(bricks, [&](const RunningBrick& brick) { return brick.spec->text() != name; });
  if (bricks.empty()) return Error(ENOENT).with("volume '{}' has no brick {} here", use->info.name, name);
  return bricks;
}

json::object describe(const HotFile& file, const std::map<Gfid, std::string>& paths, Clock& clock) {
  auto path = paths.find(file.gfid);
  json::object out{{"gfid", file.gfid.hex()},
                   {"path", nullptr},
                   {"count", file.count},
                   {"over", file.over},
                   {"bytes", file.bytes}};
  if (path != paths.end()) out["path"] = readable(path->second);
  if (file.best_rate == 0) return out;
  const auto when = clock.wall_time() - (clock.boot_time() - file.best_at);
  out["best_bytes_per_s"] = file.best_rate;
  out["best_bytes"] = file.best_bytes;
  out["best_at"] = format_time(static_cast<std::uint64_t>(when.count()));
  return out;
}

Task<Result<json::value>> top(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(auto what, json::string_field(request.body, "what"));
  CO_TRY(auto kind, top_kind(what));
  CO_TRY(auto count, count_of(request));
  CO_TRY(auto use, daemon.node().volumes.use(request.parameter("volume")));
  CO_TRY(auto bricks, bricks_named(use, request));
  auto& seams = daemon.node().seams;
  json::array out;
  for (const auto& [spec, brick] : bricks) {
    const auto& table = brick->stats().top(kind.top);
    const auto hottest = kind.by_rate ? table.by_rate(count) : table.by_count(count);
    std::vector<Gfid> gfids;
    for (const auto& file : hottest) gfids.push_back(file.gfid);
    auto paths =
        co_await on_worker(seams.workers, [&] { return find_paths(brick->store(), gfids, kNamesLookedAt); });
    json::array files;
    for (const auto& file : hottest) files.push_back(describe(file, paths, seams.clock));
    out.push_back(json::object{{"brick", spec->text()},
                               {"open_handles", brick->ordering().open_handles()},
                               {"files", std::move(files)}});
  }
  co_return json::object{{"volume", use->info.name}, {"what", what}, {"bricks", std::move(out)}};
}

Task<Result<json::value>> clear_top(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(auto use, daemon.node().volumes.use(request.parameter("volume")));
  CO_TRY(auto bricks, bricks_named(use, request));
  for (const auto& running : bricks) running.brick->stats().clear_tops();
  co_return json::object{};
}

/// The profile of a volume that was told to have one begins with its bricks.
void match_profile(const VolumeUse& use) {
  const bool wanted = option_bool(use->info.options, kProfileOption);
  for (const auto& running : bricks_of(use)) {
    auto& stats = running.brick->stats();
    if (wanted && !stats.profiling()) stats.start_profile();
    if (!wanted) stats.stop_profile();
  }
}

template <typename Histogram>
json::array describe(const Histogram& histogram) {
  json::array out;
  for (std::size_t i = 0; i < Histogram::kSize; ++i) {
    if (histogram.counts[i] == 0) continue;
    json::object bucket{{"below", nullptr}, {"count", histogram.counts[i]}};
    if (i + 1 < Histogram::kSize) bucket["below"] = Histogram::limit(i);
    out.push_back(std::move(bucket));
  }
  return out;
}

json::object describe(const BrickCounters& counters, nanoseconds duration) {
  double all_ns = 0;
  for (const auto& op : counters.ops) all_ns += static_cast<double>(op.total_ns);
  json::array ops;
  for (const auto& info : kOpTable) {
    const auto& op = counters.of(info.kind);
    if (op.count == 0) continue;
    auto us = [](double ns) { return ns / 1e3; };
    const auto total = static_cast<double>(op.total_ns);
    ops.push_back(json::object{{"op", info.name},
                               {"count", op.count},
                               {"errors", op.errors},
                               {"bytes", op.bytes},
                               {"latency_share", all_ns > 0 ? total / all_ns : 0},
                               {"average_us", us(total / static_cast<double>(op.count))},
                               {"p50_us", us(static_cast<double>(op.latency.quantile(0.5)))},
                               {"p99_us", us(static_cast<double>(op.latency.quantile(0.99)))},
                               {"max_us", us(static_cast<double>(op.latency.quantile(1)))},
                               {"latency_ns", describe(op.latency)}});
  }
  return {{"duration_s", std::chrono::duration<double>(duration).count()},
          {"read_bytes", counters.of(OpKind::kRead).bytes},
          {"written_bytes", counters.of(OpKind::kWrite).bytes},
          {"ops", std::move(ops)},
          {"read_sizes", describe(counters.read_sizes)},
          {"write_sizes", describe(counters.write_sizes)}};
}

Error not_profiled(const std::string& volume) {
  return Error(ENODATA).with("volume '{}' is not profiled; type: polder volume profile {} start", volume,
                             volume);
}

Task<Result<json::value>> profile(Daemon& daemon, const AdminRequest& request) {
  const auto& name = request.parameter("volume");
  CO_TRY(auto peek, json::string_field_or(request.body, "peek", "no"));
  CO_TRY(auto use, daemon.node().volumes.use(name));
  match_profile(use);
  json::array bricks;
  for (const auto& [spec, brick] : bricks_of(use)) {
    if (!brick->stats().profiling()) co_return not_profiled(name);
    const auto taken = brick->stats().profile(peek != "yes");
    auto interval = describe(taken.interval, taken.interval_time);
    interval["number"] = taken.interval_number;
    bricks.push_back(json::object{{"brick", spec->text()},
                                  {"cumulative", describe(taken.cumulative, taken.cumulative_time)},
                                  {"interval", std::move(interval)}});
  }
  co_return json::object{{"volume", name}, {"bricks", std::move(bricks)}};
}

Task<Result<json::value>> switch_profile(Daemon& daemon, const AdminRequest& request, bool on) {
  const auto& name = request.parameter("volume");
  auto& volumes = daemon.node().volumes;
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, name));
  const bool is_on = option_bool(volume.value.options, kProfileOption);
  if (on && is_on) co_return Error(EALREADY).with("volume '{}' is profiled already", name);
  if (!on && !is_on) co_return not_profiled(name);
  std::optional<std::string> value;
  if (on) value = "on";
  CO_TRY(co_await volumes.set_option(name, kProfileOption, value));
  if (auto use = volumes.use(name)) match_profile(*use);
  co_return json::object{};
}

Task<Result<json::value>> clear_profile(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(auto use, daemon.node().volumes.use(request.parameter("volume")));
  match_profile(use);
  for (const auto& running : bricks_of(use)) {
    if (!running.brick->stats().profiling()) co_return not_profiled(use->info.name);
    running.brick->stats().start_profile();
  }
  co_return json::object{};
}

}  // namespace

void add_usage_routes(AdminApi& api, Daemon& daemon) {
  auto add = [&](const char* method, const char* path, auto handler) {
    api.add(method, std::string("/v1/volumes/{volume}/") + path,
            [&daemon, handler](const AdminRequest& request) { return handler(daemon, request); });
  };
  add("GET", "top", top);
  add("POST", "top/clear", clear_top);
  add("GET", "profile", profile);
  add("POST", "profile/clear", clear_profile);
  for (const bool on : {true, false}) {
    api.add("POST", std::string("/v1/volumes/{volume}/profile/") + (on ? "start" : "stop"),
            [&daemon, on](const AdminRequest& request) { return switch_profile(daemon, request, on); });
  }
}

VolumeHooks profile_hooks(Volumes& volumes) {
  VolumeHooks hooks;
  hooks.started = [&volumes](std::shared_ptr<RunningVolume> volume) -> Task<void> {
    if (auto use = volumes.use(volume->info.name)) match_profile(*use);
    co_return;
  };
  return hooks;
}

}  // namespace polder
