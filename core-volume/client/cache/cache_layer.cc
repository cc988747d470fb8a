// SPDX-License-Identifier: GPL-3.0-or-later
// Questions: answered here, or asked and learnt from.
#include "core-volume/client/cache/cache_layer.h"

#include <algorithm>
#include <bit>

#include "base/coro.h"
#include "base/names.h"

namespace polder {
namespace {

constexpr std::uint32_t kNamesPerAbsence = 64;
constexpr std::uint32_t kAbsencesMax = 128;  // 8,192 names
constexpr std::size_t kPageNames = 1024;

}  // namespace

CacheLayer::CacheLayer(FileOps& below, LeaseSource& leases, CacheOptions options)
    : PassThroughLayer(below), leases_(leases), nodes_(options) {
  leases_.on_recall([this](const Gfid& gfid) { recalled(gfid); });
}

CacheLayer::~CacheLayer() {
  leases_.on_recall({});
}

CacheLayer::Stats CacheLayer::stats() const {
  auto stats = stats_;
  stats.objects = nodes_.size();
  stats.names = nodes_.names();
  return stats;
}

void CacheLayer::recalled(const Gfid& gfid) {
  ++stats_.recalls;
  if (gfid.is_nil())
    nodes_.clear();
  else
    nodes_.drop(gfid);
  if (flights_.lose_track(gfid)) nodes_.doubt_all_attributes();
}

// ---- names ----

CachedName CacheLayer::known_name(const Gfid& parent, std::string_view name) {
  const auto* directory = nodes_.find(parent);
  if (directory == nullptr) return {};
  if (const auto* known = directory->name(name)) return *known;
  return {.state = directory->complete ? CachedName::State::kAbsent : CachedName::State::kUnknown,
          .gfid = {}};
}

std::optional<Result<FileAttr>> CacheLayer::known_entry(const Gfid& parent, std::string_view name) {
  if (!leases_.leases_hold() || !check_name(name)) return std::nullopt;
  const auto known = known_name(parent, name);
  if (known.state == CachedName::State::kUnknown) return std::nullopt;
  if (known.state == CachedName::State::kAbsent) {
    ++stats_.absent;
    ++stats_.lookups;
    return Error(ENOENT);
  }
  const auto* attr = nodes_.attributes(known.gfid);
  if (attr == nullptr) return std::nullopt;
  ++stats_.lookups;
  return *attr;
}

Task<Result<FileAttr>> CacheLayer::lookup(const OpContext& ctx, Gfid parent, std::string_view name) {
  if (auto known = known_entry(parent, name)) co_return *std::move(known);
  LeaseAsk ask;
  OpContext asking = ctx;
  asking.leases = &ask;
  const Question question(flights_);
  auto found = co_await below_->lookup(asking, parent, name);
  learn_entry(question, ask, {parent, name}, found);
  if (found.failed_with(ENOENT)) co_await absent_again(ctx, parent);
  co_return found;
}

/// Lists a directory after 2, 4, 8... such answers, for as long as it has not more names than they are worth:
/// a name of a listing costs the brick a small part of a question, and a large directory is listed once in a
/// while at most.
Task<void> CacheLayer::absent_again(const OpContext& ctx, Gfid parent) {
  auto* directory = nodes_.find(parent);
  if (directory == nullptr || directory->complete || !leases_.leases_hold()) co_return;
  const auto absences = ++directory->absences;
  if (absences < 2 || absences > kAbsencesMax || !std::has_single_bit(absences)) co_return;
  std::uint64_t cookie = 0;
  for (std::size_t left = absences * kNamesPerAbsence; left > 0;) {
    auto page = co_await readdir(ctx, parent, cookie, std::min<std::size_t>(left, kPageNames), false);
    if (!page || page->end || page->entries.empty()) co_return;
    left -= std::min(left, page->entries.size());
    cookie = page->entries.back().cookie;
  }
}

void CacheLayer::learn_entry(const Question& question, const LeaseAsk& ask, const NameIn& name,
                             const Result<FileAttr>& found) {
  if (!found && !found.failed_with(ENOENT)) return;
  if (found) learn_object(question, ask, *found);
  if ((ask.granted & LeaseAsk::kDirectory) == 0 || question.met(name)) return;
  auto known = found ? CachedName{.state = CachedName::State::kPresent, .gfid = found->gfid}
                     : CachedName{.state = CachedName::State::kAbsent, .gfid = {}};
  nodes_.set_name(node_for(name.parent), name.name, known);
}

void CacheLayer::learn_object(const Question& question, const LeaseAsk& ask, const FileAttr& attr) {
  // What has no name any more ends with its last handle, which is no change of it.
  if ((ask.granted & LeaseAsk::kObject) == 0 || attr.nlink == 0 || question.met(attr.gfid)) return;
  nodes_.set_attributes(node_for(attr.gfid), attr);
}

// ---- attributes ----

Task<Result<FileAttr>> CacheLayer::getattr(const OpContext& ctx, Gfid gfid) {
  if (leases_.leases_hold()) {
    if (const auto* attr = nodes_.attributes(gfid)) {
      ++stats_.getattrs;
      co_return *attr;
    }
  }
  LeaseAsk ask;
  OpContext asking = ctx;
  asking.leases = &ask;
  const Question question(flights_);
  auto attr = co_await below_->getattr(asking, gfid);
  if (attr) learn_object(question, ask, *attr);
  co_return attr;
}

// ---- listings ----

Task<Result<DirectoryPage>> CacheLayer::readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                                std::uint32_t max_entries, bool with_attributes) {
  LeaseAsk ask;
  OpContext asking = ctx;
  asking.leases = &ask;
  const Question question(flights_);
  auto page = co_await below_->readdir(asking, gfid, cookie, max_entries, with_attributes);
  if (page) learn_page(question, ask, gfid, cookie, *page);
  co_return page;
}

/// Pages of a listing add up as long as they overlap or touch and no name changed: neither by others, since
/// that would have taken the node away, nor by us.
void CacheLayer::learn_page(const Question& question, const LeaseAsk& ask, const Gfid& gfid,
                            std::uint64_t cookie, const DirectoryPage& page) {
  if ((ask.granted & LeaseAsk::kObject) == 0 || question.met(gfid)) return;
  auto* node = &node_for(gfid);
  if (node->complete) return;
  if (cookie == 0) node->listing = CachedNode::Listing{0, node->names_changed};
  const bool gapless = node->listing && node->listing->names_changed == node->names_changed &&
                       cookie <= node->listing->to_cookie;
  if (!gapless) return node->listing.reset();
  for (const auto& entry : page.entries) {
    nodes_.set_name(*node, entry.name, {.state = CachedName::State::kPresent, .gfid = entry.attr.gfid});
    node = nodes_.find(gfid);
    if (node == nullptr) return;  // too many
    node->listing->to_cookie = std::max(node->listing->to_cookie, entry.cookie);
  }
  if (!page.end) return;
  node->complete = true;
  node->listing.reset();
}

Task<Result<void>> CacheLayer::end_session(const OpContext& ctx) {
  nodes_.clear();
  co_return co_await below_->end_session(ctx);
}

}  // namespace polder
