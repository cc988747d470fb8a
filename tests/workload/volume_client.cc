// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/workload/volume_client.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include "base/coro.h"
#include "tests/workload/look.h"

namespace polder {
namespace {

constexpr std::size_t kFileMaxBytes = 256 << 10;

}  // namespace

bool is_late(const Error& why) {
  return why.is(EIO) && why.context().contains("is not on its set yet");
}

VolumeClient::VolumeClient(std::size_t number, std::uint64_t seed, Clients& all, History& history,
                           Acknowledged acknowledged)
    : number_(number), all_(all), history_(history), acknowledged_(std::move(acknowledged)), random_(seed) {
  ctx_.session = 10 + static_cast<std::uint32_t>(number);
}

Task<void> VolumeClient::act(FileOps& ops, int steps) {
  for (int i = 0; i < steps && !all_.stop && !open_; ++i) {
    history_.begin(number_);
    touched_names_.clear();
    touched_files_.clear();
    touched_removal_ = {};
    const auto before = ctx_.sequence;
    auto outcome = co_await one(ops);
    if (outcome) {
      all_.acknowledged += ctx_.sequence - before;
    } else if (may_have_happened(outcome.error())) {
      open_ = true;
      // A brick that has failed may do it when it starts again, a full one when there is room.
      if (all_.disk_failed || all_.full || !co_await resolve(ops)) co_return;
    } else if (!is_usual(outcome.error())) {
      all_.unexpected.push_back(outcome.error().message());
    }
    history_.end(number_);
  }
}

/// What happens when others are faster, there is no room, or files are on different sets (copy): the step has
/// changed nothing.
bool VolumeClient::is_usual(const Error& why) const {
  for (const int code : {ENOENT, ESTALE, EEXIST, ENOTEMPTY, EINVAL, EXDEV})
    if (why.is(code)) return true;
  return (all_.full && (why.is(ENOSPC) || is_late(why))) ||
         ((all_.disk_failed || all_.session_ended) && why.is(EIO));
}

bool VolumeClient::may_have_happened(const Error& error) const {
  return all_.power_lost || error.maybe_applied();
}

// --- finding out what has happened

Task<Result<void>> VolumeClient::resolve(FileOps& ops) {
  if (!open_) co_return Result<void>();
  CO_TRY(co_await look_for_open(ops));
  open_ = false;
  history_.end(number_);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::look_for_open(FileOps& ops) {
  if (!open_) co_return Result<void>();
  for (const auto& name : touched_names_) {
    CO_TRY(co_await resolve_name(ops, name));
  }
  for (const auto& gfid : touched_files_) {
    CO_TRY(co_await resolve_file(ops, gfid));
  }
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::resolve_name(FileOps& ops, EntryName name) {
  auto there = co_await ops.lookup(ctx_, name.parent, name.name);
  if (!there && !there.failed_with(ENOENT) && !there.failed_with(ESTALE)) co_return there.error();
  const auto known = names_.find(name);
  const auto before = known == names_.end() ? Gfid() : known->second.gfid;
  const auto now = there ? there->gfid : Gfid();
  if (now == before) co_return Result<void>();
  history_.names(number_, name, now);
  if (before == touched_removal_) history_.removes(number_, before);
  names_.erase(name);
  if (now.is_nil()) co_return Result<void>();
  for (const auto& other : touched_names_)
    if (other != name) history_.moves(number_, other, name, now);
  const bool is_new = !std::ranges::count(all_.files, now) && !std::ranges::count(all_.directories, now);
  names_[name] = {now, there->is_directory()};
  if (!is_new) co_return Result<void>();
  (there->is_directory() ? all_.directories : all_.files).push_back(now);
  if (!there->is_directory()) touched_files_.push_back(now);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::resolve_file(FileOps& ops, Gfid gfid) {
  auto opened = co_await ops.open(ctx_, gfid, O_RDONLY);
  if (opened.failed_with(ESTALE)) {
    files_.erase(gfid);
    co_return Result<void>();
  }
  if (!opened) co_return opened.error();
  auto state = co_await look_at_file(ops, opened->attr, opened->handle);
  CO_TRY(co_await ops.release(ctx_, gfid, opened->handle));
  CO_TRY(files_[gfid], std::move(state));
  history_.changes(number_, gfid, files_[gfid]);
  co_return Result<void>();
}

void VolumeClient::expect_losses() {
  names_may_be_lost_ = some_may_be_lost_ = true;
  for (const auto& [gfid, state] : files_) files_may_be_lost_.insert(gfid);
}

/// EIO is no surprise when something may be lost; what one fsync has told, the next one does not.
Result<void> VolumeClient::tell_losses(Result<void> synced, const Gfid* file) {
  const bool names = std::exchange(names_may_be_lost_, false);
  const bool bytes = file ? files_may_be_lost_.erase(*file) != 0 : std::exchange(some_may_be_lost_, false);
  return synced.failed_with(EIO) && (names || bytes) ? Result<void>() : synced;
}

void Clients::adopt(const FoundVolume& found) {
  std::set<Gfid> all_files, all_directories{Gfid::root()};
  for (const auto& [gfid, state] : found.files) all_files.insert(gfid);
  for (const auto& [name, gfid] : found.names)
    if (!all_files.contains(gfid)) all_directories.insert(gfid);
  files.assign(all_files.begin(), all_files.end());
  directories.assign(all_directories.begin(), all_directories.end());
}

void VolumeClient::adopt(const FoundVolume& found) {
  names_.clear();
  const auto own = fmt::format("{}-", number_);
  for (const auto& [name, gfid] : found.names)
    if (name.name.starts_with(own)) names_[name] = {gfid, !found.files.contains(gfid)};
  std::erase_if(files_, [&](const auto& file) { return !found.files.contains(file.first); });
  for (auto& [gfid, state] : files_) state = found.files.at(gfid);
}

// --- the steps

void VolumeClient::changed(const Gfid& gfid, FileState state) {
  history_.changes(number_, gfid, state);
  files_[gfid] = std::move(state);
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
  if (dice < 73) co_return co_await replace(ops);
  if (dice < 75) co_return co_await change_extents(ops);
  if (dice < 77) co_return co_await copy(ops);
  if (dice < 80) co_return co_await rename(ops, true);
  if (dice < 83) co_return co_await exchange(ops);
  if (dice < 88) co_return co_await link(ops);
  if (dice < 99) co_return co_await fsync(ops);
  co_return co_await sync(ops);
}

Task<Result<void>> VolumeClient::create(FileOps& ops, EntryName name) {
  if (names_.contains(name)) co_return Result<void>();
  touched_names_.push_back(name);
  CO_TRY(auto opened, co_await ops.create(next(), name.parent, name.name, {.mode = 0640}, O_RDWR | O_EXCL));
  const auto gfid = opened.attr.gfid;
  names_[name] = {gfid, false};
  files_[gfid] = {.content = "", .mode = opened.attr.mode & 07777, .xattr = ""};
  all_.files.push_back(gfid);
  history_.names(number_, name, gfid);
  history_.changes(number_, gfid, files_[gfid]);
  co_return co_await ops.release(ctx_, gfid, opened.handle);
}

VolumeClient::Files::iterator VolumeClient::any_file() {
  return std::next(files_.begin(), static_cast<long>(below(files_.size() + 1)));
}

Task<Result<void>> VolumeClient::write(FileOps& ops) {
  const auto file = any_file();
  if (file == files_.end()) co_return Result<void>();
  const auto& gfid = file->first;
  auto state = file->second;
  const auto bytes = any_bytes();
  const auto at = std::min(below(state.content.size() + 1000), kFileMaxBytes - bytes.size());
  state.content.resize(std::max(state.content.size(), at + bytes.size()));
  state.content.replace(at, bytes.size(), bytes);
  CO_TRY(auto opened, co_await ops.open(next(), gfid, O_RDWR));
  touched_files_.push_back(gfid);
  auto written = co_await ops.write(next(), gfid, opened.handle, at, Buffer::copy_of(bytes), false);
  if (written) changed(gfid, std::move(state));
  CO_TRY(co_await ops.release(ctx_, gfid, opened.handle));
  if (!written) co_return written.error();
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::truncate(FileOps& ops) {
  const auto file = any_file();
  if (file == files_.end()) co_return Result<void>();
  const auto& gfid = file->first;
  auto state = file->second;
  state.content.resize(below(state.content.size() + 2000));
  touched_files_.push_back(gfid);
  CO_TRY(co_await ops.setattr(next(), gfid, {.fields = SetAttr::kSize, .size = state.content.size()}));
  changed(gfid, std::move(state));
  co_return Result<void>();
}

/// A hole in it, or zeros, which may make it longer.
Task<Result<void>> VolumeClient::change_extents(FileOps& ops) {
  const auto file = any_file();
  if (file == files_.end()) co_return Result<void>();
  const auto& gfid = file->first;
  auto& state = file->second;
  const auto at = below(state.content.size() + 1000), length = 1 + below(20'000);
  const bool hole = below(2) == 0;
  const auto end = std::min<std::uint64_t>(at + length, hole ? state.content.size() : kFileMaxBytes);
  if (at >= end) co_return Result<void>();
  auto content = state.content;
  content.resize(std::max<std::size_t>(content.size(), end));
  std::fill_n(content.begin() + static_cast<long>(at), end - at, '\0');
  touched_files_.push_back(gfid);
  const int mode = hole ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE;
  CO_TRY(co_await ops.fallocate(next(), gfid, mode, at, end - at));
  changed(gfid, {std::move(content), state.mode, state.xattr});
  co_return Result<void>();
}

/// Of one of its files into another one.
Task<Result<void>> VolumeClient::copy(FileOps& ops) {
  const auto from = any_file(), to = any_file();
  if (from == files_.end() || to == files_.end() || from == to) co_return Result<void>();
  const auto& source = from->second.content;
  if (source.empty()) co_return Result<void>();
  const auto offset = below(source.size());
  const auto bytes = source.substr(offset, 1 + below(30'000));
  auto state = to->second;
  const auto at = std::min(below(state.content.size() + 1000), kFileMaxBytes - bytes.size());
  state.content.resize(std::max(state.content.size(), at + bytes.size()));
  touched_files_.push_back(to->first);
  CO_TRY(const auto copied,
         co_await ops.copy_range(next(), from->first, offset, to->first, at, bytes.size()));
  state.content.replace(at, copied, bytes, 0, copied);
  changed(to->first, std::move(state));
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::set_attributes(FileOps& ops) {
  const auto file = any_file();
  if (file == files_.end()) co_return Result<void>();
  const auto& gfid = file->first;
  auto state = file->second;
  touched_files_.push_back(gfid);
  if (below(2) == 0) {
    state.mode = 0600 | static_cast<std::uint32_t>(below(64));
    CO_TRY(co_await ops.setattr(next(), gfid, {.fields = SetAttr::kMode, .mode = state.mode}));
  } else {
    state.xattr = fmt::format("value {}", below(1000));
    CO_TRY(co_await ops.setxattr(next(), gfid, "user.v", state.xattr, 0));
  }
  changed(gfid, std::move(state));
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::mkdir(FileOps& ops) {
  auto name = any_name();
  if (names_.contains(name)) co_return Result<void>();
  touched_names_.push_back(name);
  CO_TRY(auto made, co_await ops.mkdir(next(), name.parent, name.name, {.mode = 0755}));
  names_[name] = {made.gfid, true};
  all_.directories.push_back(made.gfid);
  history_.names(number_, name, made.gfid);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::remove(FileOps& ops, bool directory) {
  auto own = any(directory);
  if (own == names_.end()) co_return Result<void>();
  const auto name = own->first;
  const auto gfid = own->second.gfid;
  touched_names_.push_back(name);
  touched_removal_ = gfid;
  if (directory) {
    CO_TRY(co_await ops.rmdir(next(), name.parent, name.name));
    std::erase(all_.directories, gfid);
  } else {
    CO_TRY(co_await ops.unlink(next(), name.parent, name.name));
  }
  history_.names(number_, name, {});
  history_.removes(number_, gfid);
  names_.erase(name);
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
  touched_names_ = {from, to};
  if (there != names_.end()) touched_removal_ = there->second.gfid;
  CO_TRY(co_await ops.rename(next(), from.parent, from.name, to.parent, to.name, 0));
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
  touched_names_ = {a, b};
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
  touched_names_.push_back(name);
  CO_TRY(co_await ops.link(next(), gfid, name.parent, name.name));
  names_[name] = {gfid, false};
  history_.names(number_, name, gfid);
  co_return Result<void>();
}

Task<Result<void>> VolumeClient::fsync(FileOps& ops) {
  const auto file = any_file();
  if (file == files_.end()) co_return Result<void>();
  const auto gfid = file->first;
  auto cover = history_.cover_of_fsync(number_, gfid);
  auto synced = co_await ops.fsync(next(), gfid, below(2) == 0);
  if (synced.failed_with(ESTALE)) {  // it has no name any more
    files_.erase(gfid);
    std::erase(all_.files, gfid);
  }
  if (synced) acknowledged_(history_.acknowledge(std::move(cover)));
  co_return tell_losses(std::move(synced), &gfid);
}

Task<Result<void>> VolumeClient::sync(FileOps& ops) {
  auto cover = history_.cover_of_sync();
  auto synced = co_await ops.sync(next());
  if (synced) acknowledged_(history_.acknowledge(std::move(cover)));
  co_return tell_losses(std::move(synced), nullptr);
}

}  // namespace polder
