// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/workload/application.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <array>

#include "base/coro.h"

namespace polder {

namespace {

/// What an application must expect of random names.
constexpr std::array kExpected = {ENOENT, EEXIST,  ENOTEMPTY, EISDIR,     ENOTDIR, EINVAL,
                                  ESTALE, ENODATA, EPERM,     EOPNOTSUPP, ENXIO,   ELOOP};

}  // namespace

Application::Application(FileOps& ops, Clock& clock, Random& random, ApplicationOptions options)
    : ops_(ops), clock_(clock), random_(random), options_(options) {
  context_.uid = 1000;
  context_.gid = 100;
}

template <typename T>
bool Application::worked(const Result<T>& result) {
  if (result) return true;
  if (!std::ranges::count(kExpected, result.error().code()) && failure_.empty())
    failure_ = result.error().message();
  return false;
}

Task<void> Application::run(int operations) {
  for (int i = 0; i < operations && failure_.empty(); ++i) {
    co_await step();
    const auto pause = static_cast<std::uint64_t>(2 * options_.pause.count() + 1);
    if (!co_await clock_.sleep_for(nanoseconds(random_.below(pause)))) co_return;
  }
}

Task<void> Application::step() {
  switch (random_.below(10)) {
    case 0:
    case 1:
      co_await write_new();
      break;
    case 2:
      co_await write_old();
      break;
    case 3:
      co_await rewrite();
      break;
    case 4:
    case 5:
      co_await change_names();
      break;
    case 6:
      co_await change_bytes();
      break;
    case 7:
      co_await change_attributes();
      break;
    default:
      co_await make_object();
  }
}

Gfid Application::directory() {
  return directories_[random_.below(directories_.size())];
}

std::string Application::name() {
  return fmt::format("n{}", random_.below(8));
}

Task<Gfid> Application::object() {
  const auto parent = directory();
  const auto wanted = name();
  auto found = co_await ops_.lookup(context_, parent, wanted);
  if (found.failed_with(ESTALE)) std::erase(directories_, parent);
  if (directories_.empty()) directories_.push_back(Gfid::root());
  if (!worked(found)) co_return Gfid{};
  if (found->is_directory() && !std::ranges::count(directories_, found->gfid) && directories_.size() < 8)
    directories_.push_back(found->gfid);  // somebody else's
  co_return found->gfid;
}

std::string Application::bytes(std::uint64_t length) {
  // Half of it repeats, so that it compresses; no two writes are alike.
  std::string text = fmt::format("[{} bytes, {:016x}]", length, random_.next());
  while (text.size() < length)
    text += random_.below(2) ? std::string(200, 'a') : fmt::format("{}", random_.next());
  text.resize(length);
  return text;
}

Task<void> Application::write_pieces(Opened opened) {
  const auto gfid = opened.attr.gfid;
  std::uint64_t offset = 0;
  for (auto pieces = random_.below(3); pieces > 0; --pieces) {
    if (random_.below(4) == 0) offset += random_.below(20'000);  // a hole
    auto data = Buffer::copy_of(bytes(1 + random_.below(options_.max_write_bytes)));
    const bool append = random_.below(3) == 0;
    auto written = co_await ops_.write(context_, gfid, opened.handle, offset, data, append);
    if (!worked(written)) break;
    offset = written->offset + data.size();
    ++changes_;
    if (random_.below(4) == 0 && !co_await clock_.sleep_for(options_.pause)) co_return;
  }
  (void)co_await ops_.release(context_, gfid, opened.handle);
}

Task<void> Application::write_new() {
  const auto parent = directory();
  const auto file = name();
  auto opened = co_await ops_.create(context_, parent, file, {.mode = 0644}, O_CREAT | O_RDWR);
  if (!worked(opened)) co_return;
  ++changes_;
  co_await write_pieces(*opened);
}

Task<void> Application::write_old() {
  const auto gfid = co_await object();
  if (gfid.is_nil()) co_return;
  auto opened = co_await ops_.open(context_, gfid, random_.below(4) == 0 ? O_RDWR | O_TRUNC : O_RDWR);
  if (worked(opened)) co_await write_pieces(*opened);
}

Task<void> Application::rewrite() {
  const auto parent = directory();
  const auto file = name();
  auto opened = co_await ops_.create(context_, parent, "new", {.mode = 0600}, O_CREAT | O_RDWR | O_TRUNC);
  if (!worked(opened)) co_return;
  co_await write_pieces(*opened);
  changes_ += worked(co_await ops_.rename(context_, parent, "new", parent, file, 0));
}

Task<void> Application::change_names() {
  const auto from = directory();
  const auto to = directory();
  const auto one = name();
  const auto other = name();
  switch (random_.below(5)) {
    case 0:
      changes_ += worked(co_await ops_.unlink(context_, from, one));
      break;
    case 1:
      changes_ += worked(co_await ops_.rmdir(context_, from, one));
      break;
    case 2: {
      const auto gfid = co_await object();
      if (!gfid.is_nil()) changes_ += worked(co_await ops_.link(context_, gfid, to, other));
      break;
    }
    default: {
      const unsigned flags[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
      changes_ += worked(co_await ops_.rename(context_, from, one, to, other, flags[random_.below(4)]));
    }
  }
}

Task<void> Application::change_bytes() {
  const auto gfid = co_await object();
  if (gfid.is_nil()) co_return;
  const auto offset = random_.below(10'000);
  const auto length = 1 + random_.below(options_.max_write_bytes);
  switch (random_.below(3)) {
    case 0: {
      SetAttr size{.fields = SetAttr::kSize, .size = offset};
      changes_ += worked(co_await ops_.setattr(context_, gfid, size));
      break;
    }
    case 1: {
      const int modes[] = {0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
      changes_ += worked(co_await ops_.fallocate(context_, gfid, modes[random_.below(3)], offset, length));
      break;
    }
    default: {
      const auto to = co_await object();
      if (to.is_nil()) co_return;
      changes_ += worked(co_await ops_.copy_range(context_, gfid, 0, to, offset, length));
    }
  }
}

Task<void> Application::change_attributes() {
  const auto gfid = co_await object();
  if (gfid.is_nil()) co_return;
  const auto key = fmt::format("user.k{}", random_.below(3));
  switch (random_.below(4)) {
    case 0:
      changes_ += worked(co_await ops_.setxattr(context_, gfid, key, bytes(1 + random_.below(100)), 0));
      break;
    case 1:
      changes_ += worked(co_await ops_.removexattr(context_, gfid, key));
      break;
    case 2: {
      SetAttr owner{.fields = SetAttr::kUid | SetAttr::kGid | SetAttr::kMtime};
      owner.uid = static_cast<std::uint32_t>(random_.below(3000));
      owner.gid = static_cast<std::uint32_t>(random_.below(3000));
      owner.mtime = {static_cast<time_t>(random_.below(2'000'000'000)),
                     static_cast<long>(random_.below(1'000'000'000))};
      changes_ += worked(co_await ops_.setattr(context_, gfid, owner));
      break;
    }
    default: {
      SetAttr mode{.fields = SetAttr::kMode, .mode = static_cast<std::uint32_t>(random_.below(07777 + 1))};
      changes_ += worked(co_await ops_.setattr(context_, gfid, mode));
    }
  }
}

Task<void> Application::make_object() {
  const auto parent = directory();
  const auto made = name();
  switch (random_.below(4)) {
    case 0:
      changes_ += worked(co_await ops_.symlink(context_, parent, made, bytes(1 + random_.below(60))));
      break;
    case 1:
      changes_ += worked(co_await ops_.mknod(context_, parent, made, {.mode = S_IFIFO | 0600}));
      break;
    default: {
      auto dir = co_await ops_.mkdir(context_, parent, made, {.mode = 0755});
      if (!worked(dir)) co_return;
      ++changes_;
      if (directories_.size() < 8) directories_.push_back(dir->gfid);
    }
  }
}

}  // namespace polder
