// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_tree.h"

#include <algorithm>
#include <array>

namespace polder {

namespace {

/// The kernel writes back in time, too; and the log must not grow without bound.
constexpr std::size_t kMaxLog = 1 << 13;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

/// The inode whose bytes an edit changes; 0 for an edit of metadata alone.
Inode data_inode(const SimTree::Edit& edit) {
  if (const auto* zero = std::get_if<SimTree::ZeroRange>(&edit)) return zero->inode;
  if (const auto* size = std::get_if<SimTree::SetSize>(&edit)) return size->inode;
  return 0;
}

}  // namespace

std::uint64_t SimChoice::next() {
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

SimTree::SimTree(timespec now) {
  SimMeta root;
  root.mode = S_IFDIR | 0755;
  root.links = 2;
  root.parent = kRoot;
  root.atime = root.mtime = root.ctime = now;
  written_[kRoot].meta = root;
  durable_[kRoot].meta = root;
}

Inode SimTree::add(SimMeta meta) {
  Inode inode = next_inode_++;
  written_[inode].meta = std::move(meta);
  return inode;
}

Inode SimTree::lookup(Inode directory, std::string_view name) const {
  const auto& node = written_.at(directory);
  if (name == ".") return directory;
  if (name == "..") return written_.contains(node.meta.parent) ? node.meta.parent : 0;
  auto found = node.entries.find(name);
  return found == node.entries.end() ? 0 : found->second;
}

void SimTree::apply(std::map<Inode, SimNode>& nodes, const Edit& edit, std::uint64_t position) {
  std::visit(Overloaded{
                 [&](const SetMeta& e) {
                   auto& node = nodes[e.inode];
                   if (position >= node.synced_at) {
                     node.meta = e.meta;
                   } else {
                     node.meta.links = e.meta.links;  // goes with the names
                   }
                 },
                 [&](const SetEntry& e) {
                   auto& entries = nodes.at(e.directory).entries;
                   if (e.child != 0) {
                     entries[e.name] = e.child;
                   } else {
                     entries.erase(e.name);
                   }
                 },
                 [&](const ZeroRange& e) {
                   auto& node = nodes.at(e.inode);
                   if (position >= node.synced_at) node.data.zero(e.from, e.to);
                 },
                 [&](const SetSize& e) {
                   auto& node = nodes.at(e.inode);
                   if (position >= node.synced_at) node.data.resize(e.size);
                 },
                 [&](const Forget& e) { nodes.erase(e.inode); },
             },
             edit);
}

void SimTree::commit(std::vector<Edit> edits) {
  std::uint64_t position = log_start_ + log_.size();
  for (const auto& edit : edits) {
    Inode changed = data_inode(edit);
    if (changed != 0) used_pages_ -= node(changed).data.pages().size();
    apply(written_, edit, position);
    if (changed != 0) used_pages_ += node(changed).data.pages().size();
    touch(edit, position);
  }
  log_.push_back({std::move(edits)});
  if (log_.size() > kMaxLog) flush_log(log_start_ + kMaxLog / 2);
}

void SimTree::touch(const Edit& edit, std::uint64_t position) {
  auto mark = [&](Inode inode) {
    if (auto found = written_.find(inode); found != written_.end()) found->second.last_change = position;
  };
  std::visit(Overloaded{
                 [&](const SetMeta& e) { mark(e.inode); },
                 [&](const SetEntry& e) { mark(e.directory), mark(e.child); },
                 [&](const ZeroRange& e) {
                   mark(e.inode);
                   node(e.inode).last_data_change = position;
                   settle_dirty(e.inode, e.from, e.to, position);
                 },
                 [&](const SetSize& e) {
                   mark(e.inode);
                   node(e.inode).last_data_change = position;
                   settle_dirty(e.inode, e.size, UINT64_MAX, position);
                 },
                 [](const Forget&) {},
             },
             edit);
}

/// After a range was dropped: its dirty pages are gone, or hold bytes that came after the transaction.
void SimTree::settle_dirty(Inode inode, std::uint64_t from, std::uint64_t to, std::uint64_t position) {
  auto& changed = node(inode);
  auto at = changed.dirty.lower_bound(from / SparseData::kPageBytes);
  while (at != changed.dirty.end() && at->first <= to / SparseData::kPageBytes) {
    if (changed.data.page(at->first)) {
      at->second = position + 1;
      ++at;
    } else {
      at = changed.dirty.erase(at);
    }
  }
}

std::size_t SimTree::write(Inode inode, std::uint64_t offset, ConstBytes data,
                           const std::function<bool()>& may_add_page) {
  auto& file = node(inode);
  std::size_t written = 0;
  while (written < data.size()) {
    std::uint64_t at = offset + written;
    std::uint64_t index = at / SparseData::kPageBytes;
    auto length = std::min<std::uint64_t>(data.size() - written, (index + 1) * SparseData::kPageBytes - at);
    bool is_new = !file.data.page(index);
    if (is_new && !may_add_page()) break;
    used_pages_ += is_new;
    file.data.write_in_page(at, data.subspan(written, length));
    file.dirty[index] = log_start_ + log_.size();
    written += length;
    file.data.grow(offset + written);
  }
  return written;
}

void SimTree::set_page(Inode inode, std::uint64_t index, SparseData::PageRef page) {
  auto& file = node(inode);
  used_pages_ += (page != nullptr) - (file.data.page(index) != nullptr);
  file.data.set_page(index, std::move(page));
  file.dirty[index] = log_start_ + log_.size();
}

void SimTree::release(Inode inode) {
  auto& candidate = node(inode);
  if (candidate.meta.links != 0 || candidate.handles != 0) return;
  used_pages_ -= candidate.data.pages().size();
  commit({Forget{inode}});
}

void SimTree::flush_log(std::uint64_t position) {
  while (!log_.empty() && log_start_ <= position) {
    for (const auto& edit : log_.front().edits) apply(durable_, edit, log_start_);
    log_.pop_front();
    ++log_start_;
  }
}

void SimTree::sync(Inode inode) {
  auto& synced = node(inode);
  if (!synced.meta.is_directory()) return sync_file(inode);
  flush_log(synced.last_change);
  durable_.at(inode).meta = synced.meta;
}

void SimTree::sync_file(Inode inode) {
  auto& synced = node(inode);
  auto& durable = durable_[inode];  // may be new there: without a name it does not outlive a power loss
  for (std::uint64_t at = log_start_; at <= synced.last_data_change; ++at)
    for (const auto& edit : log_[at - log_start_].edits)
      if (data_inode(edit) == inode) apply(durable_, edit, at);
  nlink_t links = durable.meta.links;
  durable.meta = synced.meta;
  durable.meta.links = links;
  durable.data.resize(synced.data.size());
  for (auto [index, position] : synced.dirty) durable.data.set_page(index, synced.data.page(index));
  synced.dirty.clear();
  durable.synced_at = log_start_ + log_.size();
}

void SimTree::sync_all() {
  flush_log(UINT64_MAX);
  for (auto& [inode, node] : written_) sync(inode);
}

bool SimTree::flip_bit(Inode inode, std::uint64_t byte, unsigned bit) {
  const auto index = byte / SparseData::kPageBytes;
  auto durable = durable_.find(inode);
  const auto stored = durable == durable_.end() ? nullptr : durable->second.data.page(index);
  if (!stored || byte >= durable->second.data.size()) return false;
  auto flipped = std::make_shared<SparseData::Page>(*stored);
  (*flipped)[byte % SparseData::kPageBytes] ^= std::byte{1} << bit % 8;
  durable->second.data.set_page(index, flipped);
  if (auto written = written_.find(inode);
      written != written_.end() && !written->second.dirty.contains(index) && written->second.data.page(index))
    written->second.data.set_page(index, flipped);
  return true;
}

void SimTree::crash(std::uint64_t seed) {
  SimChoice choice(seed);
  std::uint64_t count = log_.size();
  // The extremes are the likeliest to show a mistake.
  std::uint64_t survivors = choice.below(4) == 0 ? 0 : choice.below(4) == 0 ? count : choice.below(count + 1);
  crash_data(log_start_ + survivors, choice.next());
  log_start_ += log_.size();
  log_.clear();
  std::erase_if(durable_, [](const auto& item) { return item.second.meta.links == 0; });
  written_ = durable_;
  count_pages();
}

void SimTree::crash_data(std::uint64_t surviving_end, std::uint64_t seed) {
  SimChoice choice(seed);
  // Bytes that were written after a truncation that did not happen have nowhere to be.
  std::map<Inode, std::uint64_t> first_lost;
  for (std::uint64_t position = surviving_end; position < log_start_ + log_.size(); ++position)
    for (const auto& edit : log_[position - log_start_].edits)
      if (Inode inode = data_inode(edit); inode != 0) {
        auto durable = durable_.find(inode);
        if (durable == durable_.end() || position >= durable->second.synced_at)
          first_lost.try_emplace(inode, position);
      }
  flush_log(surviving_end - 1);
  std::uint64_t percent = std::array{0U, 50U, 90U, 100U}[choice.below(4)];
  for (auto& [inode, node] : written_) {
    auto found = durable_.find(inode);
    if (found == durable_.end() || !node.meta.is_file()) continue;
    auto& data = found->second.data;
    auto lost = first_lost.find(inode);
    std::uint64_t limit = lost == first_lost.end() ? UINT64_MAX : lost->second;
    std::uint64_t size = data.size();
    if (limit == UINT64_MAX && node.data.size() > size) {
      std::uint64_t grown = node.data.size() - size;
      const auto more = std::array{std::uint64_t{0}, grown, choice.below(grown + 1)}[choice.below(3)];
      size += more;
      if (more != 0) {  // one inode, in one transaction
        found->second.meta.mtime = node.meta.mtime;
        found->second.meta.ctime = node.meta.ctime;
      }
    }
    data.grow(node.data.size());
    for (auto [index, position] : node.dirty)
      if (position <= limit && choice.below(100) < percent) data.set_page(index, node.data.page(index));
    data.resize(size);
  }
}

void SimTree::count_pages() {
  used_pages_ = 0;
  for (const auto& [inode, node] : written_) used_pages_ += node.data.pages().size();
}

void SimTree::forget_handles() {
  std::vector<Inode> closed;
  for (auto& [inode, node] : written_) {
    if (node.handles != 0) closed.push_back(inode);
    node.handles = 0;
  }
  for (Inode inode : closed) release(inode);
}

}  // namespace polder
