// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/cluster_snapshots.h"

#include <algorithm>

#include "core-volume/layers/store/layout.h"
#include "tests/sim/fold.h"
#include "tests/workload/look.h"

namespace polder {
namespace {

// The calls of disks that these take, about: a death is at one of them, or soon after.
constexpr std::uint64_t kMakingCalls = 150;
constexpr std::uint64_t kRestoreCalls = 900;
constexpr std::uint64_t kRemovalCalls = 60;
constexpr std::size_t kMostKept = 4;
constexpr const char* kVolumePath = "/v1/volumes/data";

std::string path_of(const std::string& snapshot) {
  return "/v1/snapshots/" + snapshot;
}

/// What a position names, for comparison.
std::string identity_of(const Record& record) {
  return fmt::format("{} of {} at {}", to_string(record.kind), record.gfid.hex(), record.hlc.ns);
}

std::vector<std::string> prefixed(const std::string& prefix, std::vector<std::string> sentences) {
  for (auto& sentence : sentences) sentence = prefix + ": " + sentence;
  return sentences;
}

}  // namespace

Result<json::value> ClusterSnapshots::ask(std::string method, const std::string& path, json::object body) {
  return site().try_call(std::move(method), path, std::move(body));
}

bool ClusterSnapshots::has(const std::string& name) {
  return std::ranges::count(site().snapshots(), name) > 0;
}

void ClusterSnapshots::end(Random& random, Death death) {
  death == Death::kPowerLoss ? site().lose_power(random.next()) : site().kill();
  site().boot();
}

// --- making

void ClusterSnapshots::make(Random& random, const History& history, const SharedFiles& shared, Death death) {
  Made made{.name = next_name(), .moment = history.begin_moment(), .shared = shared};
  if (death != Death::kNone) site().die_at(1 + random.below(kMakingCalls));
  const auto answer =
      ask("POST", "/v1/snapshots", {{"name", made.name}, {"volume", kSimVolume}, {"timestamp", false}});
  made.acknowledged = answer.has_value();
  if (!answer && !site().died())
    found_({fmt::format("snapshot {} could not be made: {}", made.name, answer.error().message())});
  if (death != Death::kNone) end(random, death);
  history.end_moment(made.moment);
  made_.push_back(std::move(made));
}

void ClusterSnapshots::look_into_new(const std::function<void(FileOps&)>& use) {
  for (const auto& made : made_)
    if (has(made.name)) site().look_into_snapshot(made.name, use);
}

void ClusterSnapshots::judge(const History& history, const SharedFiles& shared) {
  for (const auto& made : made_) {
    if (!has(made.name)) {
      if (made.acknowledged) found_({"snapshot " + made.name + " was made, and is not there"});
      continue;
    }
    Kept kept{.name = made.name, .dump = {}};
    site().look_into_snapshot(made.name, [&](FileOps& inside) {
      const auto found = must(world_.loop.run_until_done(look(inside)));
      const auto what = "snapshot " + made.name;
      found_(prefixed(what, history.problems(SharedFiles::others(found), made.moment)));
      found_(prefixed(what, shared.problems_since(made.shared, found)));
      BorrowedStack stack(world_.loop, inside);
      kept.dump = Client(stack, 0).dump();
    });
    kept_.push_back(std::move(kept));
  }
  made_.clear();
  check_volumes();
}

/// It is what it was.
void ClusterSnapshots::look_into(const Kept& kept) {
  site().look_into_snapshot(kept.name, [&](FileOps& inside) {
    BorrowedStack stack(world_.loop, inside);
    found_(differing_lines(kept.dump, Client(stack, 0).dump(), "snapshot " + kept.name));
  });
}

/// There is one volume for each snapshot that the store knows.
void ClusterSnapshots::check_volumes() {
  std::vector<std::string> known;
  for (const auto& snapshot : must(ask("GET", "/v1/snapshots")).as_array())
    known.emplace_back(snapshot.at("id").as_string());
  std::ranges::sort(known);
  const auto there = site().volume_manager().volumes_of("brick0");
  if (known != there)
    found_({fmt::format("there are {} snapshots and {} volumes of them", known.size(), there.size())});
}

// --- deleting

void ClusterSnapshots::remove(Random& random, Death death) {
  const auto chosen = kept_.begin() + static_cast<long>(random.below(kept_.size()));
  const auto kept = *chosen;
  if (death != Death::kNone) site().die_at(1 + random.below(kRemovalCalls));
  const auto answer = ask("DELETE", path_of(kept.name));
  if (!answer && !site().died())
    found_({fmt::format("snapshot {} could not be deleted: {}", kept.name, answer.error().message())});
  if (death != Death::kNone) end(random, death);
  if (!has(kept.name)) {
    kept_.erase(chosen);
  } else if (answer) {
    found_({"snapshot " + kept.name + " was deleted, and is there"});
  } else {
    look_into(kept);
  }
  check_volumes();
}

// --- going back

void ClusterSnapshots::restore(Random& random, Death death) {
  const auto target = kept_[random.below(kept_.size())];
  const auto replaced = site().dump();
  const auto snapshots = site().snapshots();
  site().call("POST", std::string(kVolumePath) + "/stop");
  note_log();
  restore_storage(random, target.name, death);
  const auto id = site().call("GET", path_of(target.name)).at("id").as_string();
  check_log(std::string(id));
  found_(differing_lines(target.dump, site().dump(), "the volume, restored to " + target.name));
  look_into(target);
  adopt_what_was_replaced(snapshots, replaced);
  if (kept_.size() > kMostKept) remove(random, Death::kNone);
  check_volumes();
}

/// As an admin would: what died in the middle, and was not finished by the next start, is begun again. The
/// volume runs afterwards.
void ClusterSnapshots::restore_storage(Random& random, const std::string& name, Death death) {
  const auto before = site().snapshots().size();
  if (death != Death::kNone) site().die_at(1 + random.below(kRestoreCalls));
  const auto answer = ask("POST", path_of(name) + "/restore");
  if (!answer && !site().died()) {
    found_({fmt::format("the volume could not be restored to {}: {}", name, answer.error().message())});
  }
  if (site().died()) {
    end(random, death);
    death = Death::kNone;
    if (site().snapshots().size() == before) site().restore_snapshot(name);
  }
  const auto start = std::string(kVolumePath) + "/start";
  auto started = ask("POST", start);
  if (death == Death::kNone) return void(must(started));
  end(random, death);
  started = ask("POST", start);
  if (!started && !started.failed_with(EALREADY)) must(started);
}

/// Exactly one snapshot is new.
void ClusterSnapshots::adopt_what_was_replaced(const std::vector<std::string>& before,
                                               std::vector<std::string> dump) {
  auto names = site().snapshots();
  std::erase_if(names, [&](const auto& name) { return std::ranges::count(before, name) > 0; });
  if (names.size() != 1) return found_({fmt::format("a restore has left {} new snapshots", names.size())});
  kept_.push_back({.name = names.front(), .dump = std::move(dump)});
  look_into(kept_.back());
}

/// Of the stopped volume. What it names, it named before.
void ClusterSnapshots::note_log() {
  const auto path = std::string("/brick0/data/") + layout::kChangelog;
  const auto first = must(verify_journal_directory(site().disks(), path)).first_index;
  auto reader = must(read_journal_directory(site().disks(), path, first));
  std::map<std::uint64_t, std::string> now;
  while (auto record = must(reader->next())) now[record->index] = identity_of(*record);
  compare_log(now);
  log_ = std::move(now);
}

void ClusterSnapshots::compare_log(const std::map<std::uint64_t, std::string>& now) {
  for (const auto& [index, identity] : log_) {
    if (now.empty() || index < now.begin()->first) continue;  // nobody needs it any more
    const auto found = now.find(index);
    const auto is = found == now.end() ? std::string("nothing") : found->second;
    if (is != identity)
      return found_({fmt::format("record {} of the log was {} and is {}", index, identity, is)});
  }
}

/// It goes on behind what it was, and says once that the volume was restored.
void ClusterSnapshots::check_log(const std::string& id) {
  auto& journal = site().brick().journal();
  auto reader = must(journal.read_from(journal.first_index(), true));
  std::map<std::uint64_t, std::string> now;
  int said = 0;
  while (auto record = must(reader->next())) {
    now[record->index] = identity_of(*record);
    said += !log_.contains(record->index) && record->kind == RecordKind::kRestored && record->text == id;
  }
  compare_log(now);
  if (said != 1) found_({fmt::format("the log says {} times that the volume was restored", said)});
}

}  // namespace polder
