// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/stats/hot_files.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace polder {

namespace {

/// The random half of a gfid. Never 0; the root's is 1.
std::uint64_t tag_of(const Gfid& gfid) {
  std::uint64_t tag = 0;
  std::memcpy(&tag, gfid.bytes.data() + gfid.bytes.size() - sizeof tag, sizeof tag);
  return tag == 0 ? 1 : tag;
}

std::vector<HotFile> first(std::vector<HotFile> files, std::size_t most) {
  if (files.size() > most) files.resize(most);
  return files;
}

}  // namespace

HotFile& HotFiles::place_of(const Gfid& gfid) {
  const auto tag = tag_of(gfid);
  auto& set = sets_[(tag >> 32 ^ tag) % kSets];
  std::size_t least = 0;
  for (std::size_t way = 0; way < kWays; ++way) {
    if (set.tags[way] == tag && set.files[way].gfid == gfid) return set.files[way];
    if (set.files[way].count < set.files[least].count) least = way;
  }
  auto& file = set.files[least];
  const auto inherited = file.count;
  set.tags[least] = tag;
  file = HotFile{};
  file.gfid = gfid;
  file.count = file.over = inherited;
  return file;
}

void HotFiles::moved(const Gfid& gfid, std::uint32_t bytes, std::chrono::nanoseconds took,
                     std::chrono::nanoseconds now) {
  auto& file = place_of(gfid);
  ++file.count;
  file.bytes += bytes;
  const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 1));
  const auto rate = std::uint64_t{bytes} * 1'000'000'000 / ns;
  if (rate <= file.best_rate) return;
  file.best_rate = rate;
  file.best_bytes = bytes;
  file.best_at = now;
}

std::vector<HotFile> HotFiles::all() const {
  std::vector<HotFile> files;
  for (const auto& set : sets_) {
    for (const auto& file : set.files) {
      if (file.count > 0) files.push_back(file);
    }
  }
  return files;
}

std::vector<HotFile> HotFiles::by_count(std::size_t most) const {
  auto files = all();
  std::ranges::sort(files, [](const HotFile& a, const HotFile& b) {
    return std::tie(b.count, a.gfid) < std::tie(a.count, b.gfid);
  });
  return first(std::move(files), most);
}

std::vector<HotFile> HotFiles::by_rate(std::size_t most) const {
  auto files = all();
  std::erase_if(files, [](const HotFile& file) { return file.best_rate == 0; });
  std::ranges::sort(files, [](const HotFile& a, const HotFile& b) {
    return std::tie(b.best_rate, a.gfid) < std::tie(a.best_rate, b.gfid);
  });
  return first(std::move(files), most);
}

void HotFiles::clear() {
  sets_.assign(kSets, Set{});
}

}  // namespace polder
