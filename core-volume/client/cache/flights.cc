// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/cache/flights.h"

#include <algorithm>
#include <utility>

namespace polder {
namespace {

constexpr std::size_t kMetMax = 64;  // more: as good as everything

std::size_t hash_of(const NameIn& name) {
  return std::hash<Gfid>()(name.parent) * 31 + std::hash<std::string_view>()(name.name);
}

template <typename Range, typename Value>
bool has(const Range& range, const Value& value) {
  return std::ranges::find(range, value) != range.end();
}

}  // namespace

bool Flights::is_changing(const Gfid& gfid) const {
  return std::ranges::any_of(changes_, [&](const OwnChange& change) { return has(change.gfids_, gfid); });
}

bool Flights::lose_track(const Gfid& directory) {
  bool lost = false;
  for (auto& change : changes_) {
    const bool in_it = std::ranges::any_of(
        change.names_, [&](const NameIn& name) { return directory.is_nil() || name.parent == directory; });
    if (!in_it) continue;
    change.go_blind();
    lost = true;
  }
  return lost;
}

OwnChange::OwnChange(Flights& flights, Gfids gfids, Names names, bool blind)
    : flights_(flights),
      gfids_(std::move(gfids)),
      names_(std::move(names)),
      started_(flights.next()),
      blind_(blind) {
  for (auto& other : flights.changes_) {
    beside_blind_ |= other.blind_;
    other.beside_blind_ |= blind_;
    for (std::size_t mine = 0; mine < names_.size(); ++mine)
      for (std::size_t its = 0; its < other.names_.size(); ++its)
        if (names_[mine] == other.names_[its]) clashed_[mine] = other.clashed_[its] = true;
  }
  flights.changes_.push_back(*this);
  for (auto& question : flights.questions_) question.meet(*this);
}

void OwnChange::go_blind() {
  if (std::exchange(blind_, true)) return;
  for (auto& other : flights_.changes_)
    if (&other != this) other.beside_blind_ = true;
  for (auto& question : flights_.questions_) question.met_anything_ = true;
}

void OwnChange::land() {
  if (is_linked()) flights_.changes_.erase(flights_.changes_.iterator_to(*this));
}

Question::Question(Flights& flights, const OwnChange* own) : flights_(flights) {
  flights.questions_.push_back(*this);
  for (const auto& change : flights.changes_)
    if (&change != own) meet(change);
}

Question::~Question() {
  flights_.questions_.erase(flights_.questions_.iterator_to(*this));
}

void Question::meet(const OwnChange& change) {
  met_anything_ |= change.blind_ || met_gfids_.size() > kMetMax;
  if (met_anything_) return;
  met_gfids_.insert(met_gfids_.end(), change.gfids_.begin(), change.gfids_.end());
  for (const auto& name : change.names_) met_names_.push_back(hash_of(name));
}

bool Question::met(const Gfid& gfid) const {
  return met_anything_ || has(met_gfids_, gfid);
}

bool Question::met(const NameIn& name) const {
  // A change of which not everything is known hits what is behind its names, no other names: but it is rare.
  return met_anything_ || has(met_names_, hash_of(name));
}

}  // namespace polder
