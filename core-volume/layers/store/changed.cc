// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/changed.h"

#include <algorithm>

#include "core-volume/layer/posix_rules.h"
#include "core-volume/layers/store/store.h"

namespace polder {
namespace {

constexpr std::uint64_t kMargin_ns = 1'000'000'000;

bool is_later(const timespec& time, std::uint64_t since_ns) {
  return time.tv_sec >= 0 && time_to_ns(time) + kMargin_ns > since_ns;
}

}  // namespace

bool Changed::contains(const Gfid& gfid) const {
  return std::ranges::binary_search(objects, gfid);
}

/// `name` in directory `dir`: an object of the index, or a directory.
Result<bool> Store::has_changed(int dir, const std::string& name, std::uint64_t since_ns) {
  TRY(const auto native, disk_.stat(dir, name));
  if (is_later(native.st_ctim, since_ns)) return true;
  TRY(const auto packed, disk_.get_xattr_at(dir, name, layout::kMetaKey));
  TRY(const auto meta, layout::unpack_meta(packed));
  return is_later(layout::effective_ctime(meta, native), since_ns);
}

Result<Changed> Store::changed_since(std::uint64_t since_ns) {
  Changed changed;
  const auto look = [&](int dir) -> Result<void> {
    TRY(auto entries, disk_.list(dir));
    for (const auto& entry : entries) {
      auto gfid = Gfid::parse(entry.name);
      if (!gfid) continue;
      ++changed.looked_at;
      TRY(const bool later, has_changed(dir, entry.name, since_ns).with("look at {}", entry.name));
      if (later) changed.objects.push_back(*gfid);
    }
    return {};
  };
  TRY(look(dirs_.fd()));
  TRY(each_index_directory(look));
  std::ranges::sort(changed.objects);
  return changed;
}

Result<std::vector<ListedName>> Store::names_since(const Gfid& directory, std::uint64_t since_ns) {
  TRY(auto dir, shared_directory(directory));
  TRY(auto entries, disk_.list(dir->fd()));
  std::vector<ListedName> names;
  for (const auto& listed : entries) {
    TRY(auto entry, find_entry(dir->fd(), listed.name));
    if (!entry) continue;
    names.push_back({listed.name, entry->gfid, entry->type, is_later(entry->native.st_ctim, since_ns)});
  }
  return names;
}

Result<void> Store::note_unlogged(std::uint64_t since_ns) {
  TRY(refuse_if_read_only());
  TRY(disk_.set_xattr_at(root_.fd(), layout::kState, layout::kUnloggedKey, std::to_string(since_ns))
          .with("note how far the log of brick {} reaches", path_));
  return sync_marks();
}

Result<std::optional<std::uint64_t>> Store::unlogged_since() {
  auto mark = disk_.get_xattr_at(root_.fd(), layout::kState, layout::kUnloggedKey);
  if (mark.failed_with(ENODATA)) return std::optional<std::uint64_t>();
  TRY(const auto text, std::move(mark));
  return std::optional<std::uint64_t>(std::strtoull(text.c_str(), nullptr, 10));
}

Result<bool> Store::is_restored() {
  auto marker = disk_.stat(root_.fd(), layout::kRestored);
  if (marker.failed_with(ENOENT)) return false;
  if (!marker) return std::move(marker).error();
  return true;
}

Result<void> Store::note_clock_lead(std::uint64_t lead_ns) {
  if (lead_ns <= clock_lead_ns_.load() + kClockLead_ns) return {};
  std::lock_guard lock(clock_lead_mutex_);
  if (lead_ns <= clock_lead_ns_.load() + kClockLead_ns) return {};
  TRY(const auto before, clock_lead());
  const auto most_ns = std::max(before, lead_ns);
  TRY(disk_.set_xattr_at(root_.fd(), layout::kState, layout::kClockLeadKey, std::to_string(most_ns))
          .with("note how far stamps of brick {} are ahead of the clock", path_));
  TRY(sync_marks());
  clock_lead_ns_ = most_ns;
  return {};
}

Result<std::uint64_t> Store::clock_lead() {
  auto mark = disk_.get_xattr_at(root_.fd(), layout::kState, layout::kClockLeadKey);
  if (mark.failed_with(ENODATA)) return std::uint64_t{0};
  TRY(const auto text, std::move(mark));
  return std::strtoull(text.c_str(), nullptr, 10);
}

Result<void> Store::all_logged() {
  clock_lead_ns_ = 0;
  TRY(drop_mark(layout::kClockLeadKey).with("note that the log of brick {} has everything", path_));
  return drop_mark(layout::kUnloggedKey).with("note that the log of brick {} has everything", path_);
}

}  // namespace polder
