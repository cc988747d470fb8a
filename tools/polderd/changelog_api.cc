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

/// Emits what there is now; returns how many records that were.
Task<Result<std::uint64_t>> emit_records(Seams& seams, const AdminRequest& request, JournalReader& reader,
                                         std::uint64_t limit) {
  std::uint64_t shown = 0;
  while (limit == 0 || shown < limit) {
    auto max = limit == 0 ? kBatchRecords : std::min<std::uint64_t>(kBatchRecords, limit - shown);
    CO_TRY(auto batch, co_await on_worker(seams.workers, [&] { return read_batch(reader, max); }));
    for (auto& line : batch) {
      CO_TRY(co_await request.emit(std::move(line)));
    }
    shown += batch.size();
    if (batch.size() < max) break;
  }
  co_return shown;
}

Task<Result<json::value>> follow(Seams& seams, const AdminRequest& request, VolumeUse& use,
                                 JournalReader& reader, Range range) {
  std::uint64_t shown = 0;
  for (int quiet = 0; !use.stopping(); ++quiet) {
    auto limit = range.count == 0 ? 0 : range.count - shown;
    CO_TRY(auto more, co_await emit_records(seams, request, reader, limit));
    shown += more;
    if (range.count > 0 && shown >= range.count) break;
    if (more > 0) quiet = 0;
    if (quiet >= kHeartbeatIntervals) {
      CO_TRY(co_await request.emit(json::object{}));
      quiet = 0;
    }
    CO_TRY(co_await seams.clock.sleep_for(kFollowInterval));
  }
  co_return json::object{{"records", shown}};
}

Task<Result<json::value>> show_running(Seams& seams, const AdminRequest& request, VolumeUse& use,
                                       Range range) {
  auto& journal = use.brick().journal();
  auto from = range.from;
  if (from == 0)
    from = range.follow ? journal.stable_index() + 1 : std::max<std::uint64_t>(1, journal.first_index());
  CO_TRY(auto reader, co_await on_worker(seams.workers, [&] { return journal.read_from(from); }));
  if (range.follow) co_return co_await follow(seams, request, use, *reader, range);
  CO_TRY(auto shown, co_await emit_records(seams, request, *reader, range.count));
  co_return json::object{
      {"records", shown}, {"first", journal.first_index()}, {"stable", journal.stable_index()}};
}

std::string directory_of(const VolumeInfo& info) {
  return info.bricks.front().path + "/" + layout::kChangelog;
}

Task<Result<json::value>> show(Daemon& daemon, const AdminRequest& request) {
  auto& seams = daemon.node().seams;
  CO_TRY(auto range, range_of(request));
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, request.parameter("volume")));
  auto use = daemon.node().volumes.use(volume.value.name);
  if (use) co_return co_await show_running(seams, request, *use, range);
  if (range.follow) co_return use.error();
  auto path = directory_of(volume.value);
  CO_TRY(auto reader, co_await on_worker(seams.workers, [&] {
           return read_journal_directory(seams.disk, path, std::max<std::uint64_t>(1, range.from));
         }));
  CO_TRY(auto shown, co_await emit_records(seams, request, *reader, range.count));
  co_return json::object{{"records", shown}};
}

Task<Result<json::value>> verify(Daemon& daemon, const AdminRequest& request) {
  auto& seams = daemon.node().seams;
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, request.parameter("volume")));
  auto use = daemon.node().volumes.use(volume.value.name);
  auto path = directory_of(volume.value);
  CO_TRY(auto check, co_await on_worker(seams.workers, [&] {
           return use ? use->brick().journal().verify() : verify_journal_directory(seams.disk, path);
         }));
  json::array damage;
  for (const auto& found : check.damage) {
    damage.push_back(json::object{{"segment", found.segment}, {"byte", found.byte}, {"what", found.what}});
  }
  co_return json::object{{"directory", path},
                         {"segments", check.segments},
                         {"records", check.records},
                         {"first_index", check.first_index},
                         {"last_index", check.last_index},
                         {"damage", std::move(damage)}};
}

}  // namespace

void add_changelog_routes(AdminApi& api, Daemon& daemon) {
  api.add("POST", "/v1/volumes/{volume}/changelog",
          [&daemon](const AdminRequest& request) { return show(daemon, request); });
  api.add("POST", "/v1/volumes/{volume}/changelog/verify",
          [&daemon](const AdminRequest& request) { return verify(daemon, request); });
}

}  // namespace polder
