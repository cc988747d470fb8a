// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/workload/volume_client.h"

#include <fcntl.h>

#include "base/coro.h"

namespace polder {
namespace {

constexpr std::size_t kFileMaxBytes = 256 << 10;

/// What happens when others are faster: the step has changed nothing.
bool is_usual(int code) {
  return code == ENOENT || code == ESTALE || code == EEXIST || code == ENOTEMPTY || code == EINVAL;
}

}  // namespace

VolumeClient::VolumeClient(std::size_t number, std::uint64_t seed, Clients& all, History& history,
                           Acknowledged acknowledged)
    : number_(number), all_(all), history_(history), acknowledged_(std::move(acknowledged)), random_(seed) {
  ctx_.session = 10 + static_cast<std::uint32_t>(number);
}

Task<void> VolumeClient::act(FileOps& ops, int steps) {
  for (int i = 0; i < steps && !all_.stop; ++i) {
    history_.begin(number_);
    auto outcome = co_await one(ops);
    history_.end(number_);
    if (outcome || (all_.power_lost && outcome.failed_with(EIO))) continue;
    if (!is_usual(outcome.error().code())) all_.unexpected.push_back(outcome.error().message());
  }
}

OpContext& VolumeClient::next() {
  ++ctx_.sequence;
  return ctx_;
}

EntryName VolumeClient::any_name() {
  return {any_directory(), fmt::format("{}-{}", number_, below(6))};
}

/// Most fit into the log, some do not.
std::string VolumeClient::any_bytes() {
  std::string bytes(below(4) == 0 ? 1 + below(60'000) : 1 + below(4096), '\0');
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i % 8 == 0) word = random_();
    bytes[i] = static_cast<char>(word >> i % 8 * 8);
  }
  return bytes;
}

VolumeClient::Names::iterator VolumeClient::any(bool directory) {
  std::vector<Names::iterator> those;
  for (auto at = names_.begin(); at != names_.end(); ++at)
    if (at->second.directory == directory) those.push_back(at);
  return those.empty() ? names_.end() : those[below(those.size())];
}

Task<Result<void>> VolumeClient::one(FileOps& ops) {
  const auto dice = below(100);
  if (dice < 20) co_return co_await create(ops, any_name());
  if (dice < 32) co_return co_await write(ops);
  if (dice < 35) co_return co_await truncate(ops);
  if (dice < 39) co_return co_await set_attributes(ops);
  if (dice < 45) co_return co_await mkdir(ops);
  if (dice < 50) co_return co_await remove(ops, false);
  if (dice < 53) co_return co_await remove(ops, true);
  if (dice < 62) co_return co_await rename(ops, false);
  if (dice < 77) co_return co_await replace(ops);
  if (dice < 80) co_return co_await rename(ops, true);
  if (dice < 83) co_return co_await exchange(ops);
  if (dice < 88) co_return co_await link(ops);
  if (dice < 99) co_return co_await fsync(ops);
  co_return co_await sync(ops);
}

Task<Result<void>> VolumeClient::create(FileOps& ops, EntryName name) {
  if (names_.contains(name)) co_return Result<void>();
  auto opened = co_await ops.create(next(), name.parent, name.name, {.mode = 0640}, O_RDWR | O_EXCL);
  if (!may_be_done(opened)) co_return opened.error();
  FileAttr attr;
  if (opened) {
    attr = opened->attr;
  } else {
    CO_TRY(attr, co_await ops.lookup(next(), name.parent, name.name));
  }
  const auto gfid = attr.gfid;
  names_[name] = {gfid, false};
  files_[gfid] = {.content = "", .mode = attr.mode & 07777, .xattr = ""};
  all_.files.push_back(gfid);
  history_.names(number_, name, gfid);
  history_.changes(number_, gfid, files_[gfid]);
  if (opened) co_return co_await ops.release(ctx_, gfid, opened->handle);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::write(FileOps& ops) {
  if (files_.empty()) co_return Result<void>();
  auto& [gfid, state] = *std::next(files_.begin(), static_cast<long>(below(files_.size())));
  const auto bytes = any_bytes();
  const auto at = std::min(below(state.content.size() + 1000), kFileMaxBytes - bytes.size());
  CO_TRY(auto opened, co_await ops.open(next(), gfid, O_RDWR));
  // Once it is sent, a power loss may leave any part of it.
  state.content.resize(std::max(state.content.size(), at + bytes.size()));
  state.content.replace(at, bytes.size(), bytes);
  auto written = co_await ops.write(next(), gfid, opened.handle, at, Buffer::copy_of(bytes), false);
  if (written) history_.changes(number_, gfid, state);
  CO_TRY(co_await ops.release(ctx_, gfid, opened.handle));
  if (!written) co_return written.error();
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::truncate(FileOps& ops) {
  if (files_.empty()) co_return Result<void>();
  auto& [gfid, state] = *std::next(files_.begin(), static_cast<long>(below(files_.size())));
  const auto size = below(state.content.size() + 2000);
  CO_TRY(co_await ops.setattr(next(), gfid, {.fields = SetAttr::kSize, .size = size}));
  state.content.resize(size);
  history_.changes(number_, gfid, state);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::set_attributes(FileOps& ops) {
  if (files_.empty()) co_return Result<void>();
  auto& [gfid, state] = *std::next(files_.begin(), static_cast<long>(below(files_.size())));
  auto changed = state;
  if (below(2) == 0) {
    changed.mode = 0600 | static_cast<std::uint32_t>(below(64));
    CO_TRY(co_await ops.setattr(next(), gfid, {.fields = SetAttr::kMode, .mode = changed.mode}));
  } else {
    changed.xattr = fmt::format("value {}", below(1000));
    CO_TRY(co_await ops.setxattr(next(), gfid, "user.v", changed.xattr, 0));
  }
  state = std::move(changed);
  history_.changes(number_, gfid, state);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::mkdir(FileOps& ops) {
  auto name = any_name();
  if (names_.contains(name)) co_return Result<void>();
  auto made = co_await ops.mkdir(next(), name.parent, name.name, {.mode = 0755});
  if (!may_be_done(made)) co_return made.error();
  if (!made) made = co_await ops.lookup(next(), name.parent, name.name);
  if (!made) co_return made.error();
  names_[name] = {made->gfid, true};
  all_.directories.push_back(made->gfid);
  history_.names(number_, name, made->gfid);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::remove(FileOps& ops, bool directory) {
  auto own = any(directory);
  if (own == names_.end()) co_return Result<void>();
  const auto name = own->first;
  if (directory) {
    auto removed = co_await ops.rmdir(next(), name.parent, name.name);
    if (!may_be_done(removed)) co_return removed;
    std::erase(all_.directories, own->second.gfid);
  } else {
    auto removed = co_await ops.unlink(next(), name.parent, name.name);
    if (!may_be_done(removed)) co_return removed;
  }
  history_.names(number_, name, {});
  history_.removes(number_, own->second.gfid);
  names_.erase(own);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::rename(FileOps& ops, bool directory) {
  auto own = any(directory);
  auto to = any_name();
  if (own == names_.end() || own->first == to) co_return Result<void>();
  auto there = names_.find(to);
  if (there != names_.end() && (there->second.directory || directory)) co_return Result<void>();
  co_return co_await rename(ops, own->first, to);
}

/// As editors save: all of it new, and nothing synced.
Task<Result<void>> VolumeClient::replace(FileOps& ops) {
  auto own = any(false);
  const auto name = any_name();
  if (own == names_.end() || names_.contains(name)) co_return Result<void>();
  const auto to = own->first;
  CO_TRY(co_await create(ops, name));
  co_return co_await rename(ops, name, to);
}

Task<Result<void>> VolumeClient::rename(FileOps& ops, EntryName from, EntryName to) {
  const auto moved = names_.at(from);
  auto there = names_.find(to);
  // Two names of one file: rename(2) does nothing.
  const bool same = there != names_.end() && there->second.gfid == moved.gfid;
  auto renamed = co_await ops.rename(next(), from.parent, from.name, to.parent, to.name, 0);
  if (!may_be_done(renamed)) co_return renamed;
  if (same) co_return Result<void>();
  if (there != names_.end()) history_.removes(number_, there->second.gfid);
  history_.names(number_, from, {});
  history_.names(number_, to, moved.gfid);
  history_.moves(number_, from, to, moved.gfid);
  names_.erase(from);
  names_[to] = moved;
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::exchange(FileOps& ops) {
  auto one = any(false), other = any(below(4) == 0);
  if (one == names_.end() || other == names_.end() || one == other) co_return Result<void>();
  if (one->second.gfid == other->second.gfid) co_return Result<void>();
  const auto a = one->first, b = other->first;
  CO_TRY(co_await ops.rename(next(), a.parent, a.name, b.parent, b.name, RENAME_EXCHANGE));
  std::swap(names_[a], names_[b]);
  history_.names(number_, a, names_[a].gfid);
  history_.names(number_, b, names_[b].gfid);
  history_.moves(number_, a, b, names_[b].gfid);
  history_.moves(number_, b, a, names_[a].gfid);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::link(FileOps& ops) {
  auto name = any_name();
  if (names_.contains(name) || all_.files.empty()) co_return Result<void>();
  const auto gfid = all_.files[below(all_.files.size())];
  auto linked = co_await ops.link(next(), gfid, name.parent, name.name);
  if (!may_be_done(linked)) co_return linked.error();
  names_[name] = {gfid, false};
  history_.names(number_, name, gfid);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::fsync(FileOps& ops) {
  if (files_.empty()) co_return Result<void>();
  const auto gfid = std::next(files_.begin(), static_cast<long>(below(files_.size())))->first;
  auto cover = history_.cover_of_fsync(number_, gfid);
  auto synced = co_await ops.fsync(next(), gfid, below(2) == 0);
  if (synced.failed_with(ESTALE)) {  // it has no name any more
    files_.erase(gfid);
    std::erase(all_.files, gfid);
  }
  CO_TRY(std::move(synced));
  acknowledged_(history_.acknowledge(std::move(cover)));
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::sync(FileOps& ops) {
  auto cover = history_.cover_of_sync();
  CO_TRY(co_await ops.sync(next()));
  acknowledged_(history_.acknowledge(std::move(cover)));
  co_return Result<void>();
}

}  // namespace polder
