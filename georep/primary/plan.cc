// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/primary/plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

namespace polder::georep {

namespace {

bool is_bulk(const Record& record) {
  return record.kind == RecordKind::kWrite && record.data.size() < record.length;
}

bool is_regular_create(const Record& record) {
  return record.kind == RecordKind::kCreate && S_ISREG(record.state.mode);
}

/// The data-less writes of one object since its last other record: a set of disjoint extents.
struct Run {
  std::map<std::uint64_t, std::uint64_t> extents;  // offset → end
  std::uint64_t last_index = 0;
  std::uint64_t time_ns = 0;

  void add(std::uint64_t offset, std::uint64_t end) {
    auto it = extents.upper_bound(offset);
    if (it != extents.begin() && std::prev(it)->second >= offset) --it;
    while (it != extents.end() && it->first <= end) {
      offset = std::min(offset, it->first);
      end = std::max(end, it->second);
      it = extents.erase(it);
    }
    extents.emplace(offset, end);
  }
};

class Planner {
 public:
  Planner(const std::map<Gfid, Gfid>& renamed_over, const PlanLimits& limits)
      : renamed_over_(renamed_over), limits_(limits) {}

  CutPlan plan(std::vector<Record> records) {
    if (!records.empty()) plan_.upto_index = records.back().index;
    for (auto& record : records) take(std::move(record));
    while (!runs_.empty()) close_run(runs_.begin()->first);
    turn_rewrites_into_deltas();
    emit();
    return std::move(plan_);
  }

 private:
  void take(Record record) {
    if (is_regular_create(record)) created_.insert(record.gfid);
    if (is_bulk(record)) {
      auto& run = runs_[record.gfid];
      run.add(record.offset, record.offset + record.length);
      run.last_index = record.index;
      run.time_ns = record.time_ns;
      return;
    }
    if (!record.is_data()) close_run(record.gfid);
    plan_.records.push_back(std::move(record));
  }

  void close_run(const Gfid& gfid) {
    auto it = runs_.find(gfid);
    if (it == runs_.end()) return;
    for (const auto& [offset, end] : it->second.extents) {
      extents_.push_back({it->second.last_index, gfid, offset, end - offset, it->second.time_ns, true});
    }
    runs_.erase(it);
  }

  /// A delta carries the whole content as it is when sent, so it stands behind the last extent of its file
  /// and replaces all.
  void turn_rewrites_into_deltas() {
    std::map<Gfid, DeltaItem> deltas;
    for (const auto& extent : extents_) {
      auto basis = renamed_over_.find(extent.gfid);
      if (basis == renamed_over_.end() || !created_.contains(extent.gfid)) continue;
      auto& delta = deltas[extent.gfid];
      delta.index = std::max(delta.index, extent.index);
      delta.gfid = extent.gfid;
      delta.basis = basis->second;
      delta.time_ns = std::max(delta.time_ns, extent.time_ns);
      delta.extents.push_back(extent);
    }
    for (auto& [gfid, delta] : deltas) {
      std::uint64_t bytes = 0;
      for (const auto& extent : delta.extents) bytes += extent.length;
      // Content changed otherwise after the last extent (truncated, punched): the extents are cheaper to get
      // right.
      if (bytes < limits_.delta_min_bytes || content_changed_after(gfid, delta.index)) continue;
      std::erase_if(extents_, [&](const ExtentItem& extent) { return extent.gfid == gfid; });
      deltas_.push_back(std::move(delta));
    }
  }

  bool content_changed_after(const Gfid& gfid, std::uint64_t index) const {
    return std::any_of(plan_.records.begin(), plan_.records.end(), [&](const Record& record) {
      return record.gfid == gfid && record.index > index && record.kind <= RecordKind::kZero;
    });
  }

  void emit() {
    std::sort(extents_.begin(), extents_.end(), [](const ExtentItem& a, const ExtentItem& b) {
      return std::tie(a.index, a.offset) < std::tie(b.index, b.offset);
    });
    std::sort(deltas_.begin(), deltas_.end(),
              [](const DeltaItem& a, const DeltaItem& b) { return a.index < b.index; });
    std::size_t extent = 0, delta = 0, record = 0;
    while (true) {
      const std::uint64_t next_extent = extent < extents_.size() ? extents_[extent].index : UINT64_MAX;
      const std::uint64_t next_delta = delta < deltas_.size() ? deltas_[delta].index : UINT64_MAX;
      record = emit_records(record, std::min(next_extent, next_delta));
      if (next_extent == UINT64_MAX && next_delta == UINT64_MAX) return;
      if (next_extent < next_delta) {
        plan_.items.emplace_back(extents_[extent++]);
      } else {
        plan_.items.emplace_back(std::move(deltas_[delta++]));
      }
    }
  }

  std::size_t emit_records(std::size_t first, std::uint64_t before_index) {
    while (first < plan_.records.size() && plan_.records[first].index < before_index) {
      std::size_t count = 0;
      while (first + count < plan_.records.size() && plan_.records[first + count].index < before_index &&
             count < limits_.records_per_item) {
        ++count;
      }
      plan_.items.emplace_back(RecordsItem{first, count});
      first += count;
    }
    return first;
  }

  const std::map<Gfid, Gfid>& renamed_over_;
  const PlanLimits& limits_;
  CutPlan plan_;
  std::map<Gfid, Run> runs_;
  std::set<Gfid> created_;
  std::vector<ExtentItem> extents_;
  std::vector<DeltaItem> deltas_;
};

}  // namespace

bool CutPlan::is_read_from_volume() const {
  return of_state || std::ranges::any_of(items, [](const PlanItem& item) {
           return !std::holds_alternative<RecordsItem>(item);
         });
}

CutPlan plan_cut(std::vector<Record> records, const std::map<Gfid, Gfid>& renamed_over,
                 const PlanLimits& limits) {
  return Planner(renamed_over, limits).plan(std::move(records));
}

std::map<Gfid, Gfid> find_renamed_over(std::span<const Record> records) {
  std::set<Gfid> created;
  std::map<Gfid, Gfid> renamed_over;
  for (const auto& record : records) {
    if (is_regular_create(record)) created.insert(record.gfid);
    const bool found = is_regular_create(record) && record.name.name.empty();
    if (found) renamed_over.emplace(record.gfid, record.gfid);
    const bool displaces =
        record.kind == RecordKind::kRename && !record.exchange && !record.displaced.is_nil();
    if (displaces && created.contains(record.gfid)) renamed_over.emplace(record.gfid, record.displaced);
  }
  return renamed_over;
}

std::size_t choose_cut(std::span<const Record> records,
                       const std::function<bool(const Record& create)>& still_written) {
  std::set<Gfid> has_bulk;
  for (const auto& record : records) {
    if (is_bulk(record)) has_bulk.insert(record.gfid);
  }
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (is_regular_create(records[i]) && has_bulk.contains(records[i].gfid) && still_written(records[i]))
      return i;
  }
  return records.size();
}

}  // namespace polder::georep
