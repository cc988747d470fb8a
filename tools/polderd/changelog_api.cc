// SPDX-License-Identifier: GPL-3.0-or-later
// Routes that read a volume's changelog: show, tail, verify. Whoever asks is outside of the set, so nothing
// beyond the stable index is shown while the volume runs.
#include "base/clock.h"
#include "base/coro.h"
#include "base/on_worker.h"
#include "core-volume/layers/store/layout.h"
#include "tools/polderd/daemon.h"
#include "tools/polderd/record_json.h"

namespace polder {

namespace {

constexpr std::size_t kBatchRecords = 256;
constexpr auto kFollowInterval = std::chrono::milliseconds(100);
constexpr int kHeartbeatIntervals = 100;  // an empty line, to notice that the reader has left

struct Range {
  std::uint64_t from = 0;   // 0: the oldest
  std::uint64_t count = 0;  // 0: all
  bool follow = false;
};

Result<std::uint64_t> number(const AdminRequest& request, std::string_view name) {
  if (!request.body.contains(name)) return 0;
  return json::number_field(request.body, name);
}

Result<Range> range_of(const AdminRequest& request) {
  Range range;
  TRY(range.from, number(request, "from"));
  TRY(range.count, number(request, "count"));
  TRY(range.follow, json::bool_field_or(request.body, "follow", false));
  return range;
}

Result<std::vector<json::value>> read_batch(JournalReader& reader, std::size_t max) {
  std::vector<json::value> out;
  while (out.size() < max) {
    TRY(auto record, reader.next());
    if (!record) break;
    out.push_back(to_json(*record));
  }
  return out;
}

/// The log of one brick.
struct Source {
  BrickSpec spec;
  std::shared_ptr<Brick> brick;  // null: it does not run, and its directory is read
  std::unique_ptr<JournalReader> reader;
  std::string directory() const { return spec.path + "/" + layout::kChangelog; }
};

bool is_named(const BrickSpec& spec, const std::string& word) {
  return word == spec.path || word == spec.text() || word == std::to_string(spec.set);
}

/// The bricks that are asked for: all, or the one that "brick" names by set, path or NODE:/path.
Result<std::vector<Source>> sources_of(const AdminRequest& request, const VolumeInfo& info,
                                       const Result<VolumeUse>& use) {
  TRY(auto word, json::string_field_or(request.body, "brick", ""));
  std::vector<Source> sources;
  for (const auto& spec : info.bricks) {
    if (!word.empty() && !is_named(spec, word)) continue;
    sources.push_back({spec, use ? use->stack().brick(spec.set) : nullptr, nullptr});
  }
  if (sources.empty())
    return Error(ENOENT).with("volume '{}' has no brick or set '{}'; type: polder volume info {}", info.name,
                              word, info.name);
  return sources;
}

/// Emits what there is now; returns how many records that were. `marked`: each says which set it is of.
Task<Result<std::uint64_t>> emit_records(Seams& seams, const AdminRequest& request, Source& source,
                                         bool marked, std::uint64_t limit) {
  std::uint64_t shown = 0;
  while (limit == 0 || shown < limit) {
    auto max = limit == 0 ? kBatchRecords : std::min<std::uint64_t>(kBatchRecords, limit - shown);
    CO_TRY(auto batch, co_await on_worker(seams.workers, [&] { return read_batch(*source.reader, max); }));
    for (auto& line : batch) {
      if (marked) line.as_object()["set"] = source.spec.set;
      CO_TRY(co_await request.emit(std::move(line)));
    }
    shown += batch.size();
    if (batch.size() < max) break;
  }
  co_return shown;
}

bool still_runs(const VolumeUse& use, const std::vector<Source>& sources) {
  if (use.stopping()) return false;
  return std::ranges::all_of(
      sources, [&](const Source& source) { return source.brick == use.stack().brick(source.spec.set); });
}

Task<Result<json::value>> follow(Seams& seams, const AdminRequest& request, VolumeUse& use,
                                 std::vector<Source> sources, Range range) {
  std::uint64_t shown = 0;
  for (int quiet = 0; still_runs(use, sources); ++quiet) {
    for (auto& source : sources) {
      auto limit = range.count == 0 ? 0 : range.count - shown;
      CO_TRY(auto more, co_await emit_records(seams, request, source, sources.size() > 1, limit));
      shown += more;
      if (range.count > 0 && shown >= range.count) co_return json::object{{"records", shown}};
      if (more > 0) quiet = 0;
    }
    if (quiet >= kHeartbeatIntervals) {
      CO_TRY(co_await request.emit(json::object{}));
      quiet = 0;
    }
    CO_TRY(co_await seams.clock.sleep_for(kFollowInterval));
  }
  co_return json::object{{"records", shown}};
}

Result<std::unique_ptr<JournalReader>> open_reader(Seams& seams, const Source& source, const Range& range) {
  if (!source.brick)
    return read_journal_directory(seams.disk, source.directory(), std::max<std::uint64_t>(1, range.from));
  auto& journal = source.brick->journal();
  auto oldest = std::max<std::uint64_t>(1, journal.first_index());
  auto first = range.follow ? journal.stable_index() + 1 : oldest;
  return journal.read_from(range.from == 0 ? first : range.from);
}

Task<Result<json::value>> show(Daemon& daemon, const AdminRequest& request) {
  auto& seams = daemon.node().seams;
  CO_TRY(auto range, range_of(request));
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, request.parameter("volume")));
  auto use = daemon.node().volumes.use(volume.value.name);
  if (range.follow && !use) co_return use.error();
  CO_TRY(auto sources, sources_of(request, volume.value, use));
  for (auto& source : sources) {
    if (range.follow && !source.brick)
      co_return Error(ENOTCONN).with("brick {} does not run", source.spec.text());
    CO_TRY(source.reader,
           co_await on_worker(seams.workers, [&] { return open_reader(seams, source, range); }));
  }
  if (range.follow) co_return co_await follow(seams, request, *use, std::move(sources), range);
  std::uint64_t shown = 0;
  for (auto& source : sources) {
    CO_TRY(auto more, co_await emit_records(seams, request, source, sources.size() > 1, range.count));
    shown += more;
  }
  co_return json::object{{"records", shown}};
}

json::object to_json(const Source& source, const JournalCheck& check) {
  json::array damage;
  for (const auto& found : check.damage) {
    damage.push_back(json::object{{"segment", found.segment}, {"byte", found.byte}, {"what", found.what}});
  }
  return json::object{{"brick", source.spec.text()},     {"set", source.spec.set},
                      {"directory", source.directory()}, {"segments", check.segments},
                      {"records", check.records},        {"first_index", check.first_index},
                      {"last_index", check.last_index},  {"damage", std::move(damage)}};
}

Task<Result<json::value>> verify(Daemon& daemon, const AdminRequest& request) {
  auto& seams = daemon.node().seams;
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, request.parameter("volume")));
  auto use = daemon.node().volumes.use(volume.value.name);
  CO_TRY(auto sources, sources_of(request, volume.value, use));
  json::array checks;
  for (const auto& source : sources) {
    CO_TRY(auto check, co_await on_worker(seams.workers, [&] {
             return source.brick ? source.brick->journal().verify()
                                 : verify_journal_directory(seams.disk, source.directory());
           }));
    checks.push_back(to_json(source, check));
  }
  co_return checks;
}

}  // namespace

void add_changelog_routes(AdminApi& api, Daemon& daemon) {
  api.add("POST", "/v1/volumes/{volume}/changelog",
          [&daemon](const AdminRequest& request) { return show(daemon, request); });
  api.add("POST", "/v1/volumes/{volume}/changelog/verify",
          [&daemon](const AdminRequest& request) { return verify(daemon, request); });
}

}  // namespace polder
