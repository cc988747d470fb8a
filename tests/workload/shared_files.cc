// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/workload/shared_files.h"

#include <fcntl.h>
#include <fmt/ranges.h>

#include "base/clock.h"
#include "base/coro.h"

namespace polder {
namespace {

constexpr std::size_t kHeldMax = 3;
const OpContext kInside;

std::string shared_name(std::string_view what) {
  return std::string(kSharedPrefix) + std::string(what);
}

std::string line_of(std::size_t client, std::uint64_t number) {
  return fmt::format("client {} line {} {:x<{}}\n", client, number, "", (client * 7 + number) % 60);
}

Task<Result<Gfid>> make_empty(FileOps& ops, const std::string& name) {
  CO_TRY(auto opened, co_await ops.create(kInside, Gfid::root(), name, {.mode = 0600}, O_RDWR | O_TRUNC));
  CO_TRY(co_await ops.release(kInside, opened.attr.gfid, opened.handle));
  co_return opened.attr.gfid;
}

Task<Result<std::string>> read_all(FileOps& ops, Gfid gfid) {
  CO_TRY(auto opened, co_await ops.open(kInside, gfid, O_RDONLY));
  auto bytes = co_await ops.read(kInside, gfid, opened.handle, 0, 4 << 20);
  CO_TRY(co_await ops.release(kInside, gfid, opened.handle));
  if (!bytes) co_return bytes.error();
  co_return std::string(bytes->text());
}

}  // namespace

Task<Result<void>> SharedFiles::begin(FileOps& ops, std::size_t clients) {
  CO_TRY(log_, co_await make_empty(ops, shared_name("log")));
  CO_TRY(counter_, co_await make_empty(ops, shared_name("counter")));
  lines_.assign(clients, {});
  raised_ = perhaps_raised_ = 0;
  holders_ = 0;
  met_ = false;
  problems_.clear();
  co_return Result<void>();
}

Task<Result<Opened>> SharedFiles::open_log(FileOps& ops) const {
  return ops.open(kInside, log_, O_RDONLY);
}

FoundVolume SharedFiles::others(FoundVolume found) {
  std::erase_if(found.names, [&](const auto& entry) {
    const bool shared = entry.first.name.starts_with(kSharedPrefix);
    if (shared) found.files.erase(entry.second);
    return shared;
  });
  return found;
}

Task<Result<std::vector<std::string>>> SharedFiles::problems(FileOps& top, bool sessions_kept) {
  auto found = problems_;
  CO_TRY(const auto log, co_await read_all(top, log_));
  std::ranges::move(wrong_lines(log), std::back_inserter(found));
  if (sessions_kept && met_) found.emplace_back("two clients had the lock at one time");
  CO_TRY(const auto counter, co_await read_all(top, counter_));
  const auto value = std::strtoull(counter.c_str(), nullptr, 10);
  if (value < raised_ || value > raised_ + perhaps_raised_)
    found.push_back(fmt::format("the counter was raised {} times and shows \"{}\"", raised_, counter));
  co_return found;
}

std::vector<std::string> SharedFiles::problems_since(const SharedFiles& before,
                                                     const FoundVolume& snapshot) const {
  SharedFiles then = before;
  for (std::size_t client = 0; client < lines_.size(); ++client)
    then.lines_[client].tried = lines_[client].tried;
  const auto content_of = [&](const Gfid& gfid) {
    const auto file = snapshot.files.find(gfid);
    return file == snapshot.files.end() ? std::string("missing") : file->second.content;
  };
  auto found = then.wrong_lines(content_of(log_));
  const auto counter = content_of(counter_);
  const auto value = std::strtoull(counter.c_str(), nullptr, 10);
  if (value < before.raised_ || value > raised_ + perhaps_raised_)
    found.push_back(fmt::format("the counter was raised {} to {} times and shows \"{}\"", before.raised_,
                                raised_ + perhaps_raised_, counter));
  return found;
}

std::vector<std::string> SharedFiles::wrong_lines(const std::string& log) const {
  std::vector<std::string> wrong;
  std::vector<std::uint64_t> last(lines_.size());
  std::vector<std::uint64_t> seen(lines_.size());
  for (std::size_t at = 0; at < log.size();) {
    std::size_t client = 0;
    unsigned long long number = 0;
    const bool reads = std::sscanf(log.c_str() + at, "client %zu line %llu ", &client, &number) == 2;
    const auto expected = reads && client < lines_.size() ? line_of(client, number) : "";
    if (expected.empty() || log.compare(at, expected.size(), expected) != 0) {
      wrong.push_back(
          fmt::format("the log has no line at byte {} of {}: {}", at, log.size(), log.substr(at, 40)));
      return wrong;
    }
    if (number <= last[client] || number > lines_[client].tried)
      wrong.push_back(
          fmt::format("the log has line {} of client {} behind line {}", number, client, last[client]));
    last[client] = number;
    seen[client] += lines_[client].acknowledged.contains(number);
    at += expected.size();
  }
  for (std::size_t client = 0; client < lines_.size(); ++client)
    if (seen[client] != lines_[client].acknowledged.size())
      wrong.push_back(fmt::format("the log has {} of {} lines of client {}", seen[client],
                                  lines_[client].acknowledged.size(), client));
  return wrong;
}

// --- the clients

SharingClient::SharingClient(std::size_t number, std::uint64_t seed, Clients& all, SharedFiles& shared)
    : number_(number), all_(all), shared_(shared), random_(seed) {}

Task<void> SharingClient::act(FileOps& ops, Clock& clock, int steps) {
  for (int i = 0; i < steps && !all_.stop; ++i) {
    auto outcome = co_await one(ops, clock);
    if (outcome) {
      ++all_.acknowledged;
      continue;
    }
    const auto& why = outcome.error();
    if (all_.power_lost || (all_.disk_failed && why.is(EIO))) co_return;
    if (all_.session_ended && (why.is(EIO) || why.is(ESTALE))) continue;
    if (!(all_.full && (why.is(ENOSPC) || is_late(why))))
      all_.unexpected.push_back("of shared files: " + why.message());
  }
}

Task<void> SharingClient::close_all(FileOps& ops) {
  for (const auto& file : held_) (void)co_await ops.release(ctx_, file.gfid, file.handle);
  held_.clear();
}

Task<Result<void>> SharingClient::one(FileOps& ops, Clock& clock) {
  switch (below(4)) {
    case 0:
      return append(ops);
    case 1:
      return raise(ops, clock);
    case 2:
      return remove_open(ops);
    default:
      return use_removed(ops);
  }
}

Task<Result<void>> SharingClient::append(FileOps& ops) {
  CO_TRY(auto opened, co_await ops.open(ctx_, shared_.log_, O_WRONLY | O_APPEND));
  auto& lines = shared_.lines_[number_];
  const auto number = ++lines.tried;
  auto line = Buffer::copy_of(line_of(number_, number));
  auto written = co_await ops.write(ctx_, shared_.log_, opened.handle, 0, line, true);
  if (written) lines.acknowledged.insert(number);
  CO_TRY(co_await ops.release(ctx_, shared_.log_, opened.handle));
  if (!written) co_return written.error();
  co_return Result<void>();
}

/// By the file that was open before the lock was taken: whose session ends has lost that file with the lock,
/// and cannot write any more when somebody else has it (C20).
Task<Result<void>> SharingClient::raise(FileOps& ops, Clock& clock) {
  CO_TRY(const auto opened, co_await ops.open(ctx_, shared_.counter_, O_RDWR));
  FileLock lock{.type = FileLock::Type::kWrite, .owner = 1 + number_};
  auto raised = co_await ops.set_lock(ctx_, shared_.counter_, lock, true);
  if (raised) {
    shared_.met_ |= ++shared_.holders_ > 1;
    raised = co_await raise_locked(ops, clock, opened.handle);
    --shared_.holders_;
    lock.type = FileLock::Type::kUnlock;
    auto unlocked = co_await ops.set_lock(ctx_, shared_.counter_, lock, false);
    if (raised) raised = unlocked;
  }
  auto closed = co_await ops.release(ctx_, shared_.counter_, opened.handle);
  co_return raised ? closed : raised;
}

Task<Result<void>> SharingClient::raise_locked(FileOps& ops, Clock& clock, HandleId handle) {
  CO_TRY(const auto before, co_await ops.read(ctx_, shared_.counter_, handle, 0, 100));
  if (!co_await clock.sleep_for(std::chrono::milliseconds(below(20)))) co_return Error(ECANCELED);
  const auto number = std::strtoull(std::string(before.text()).c_str(), nullptr, 10) + 1;
  const auto after = Buffer::copy_of(fmt::format("{:08}", number));
  ++shared_.perhaps_raised_;
  auto written = co_await ops.write(ctx_, shared_.counter_, handle, 0, after, false);
  if (written || !written.error().maybe_applied()) --shared_.perhaps_raised_;
  if (!written) co_return written.error();
  ++shared_.raised_;
  co_return Result<void>();
}

Task<Result<void>> SharingClient::remove_open(FileOps& ops) {
  if (held_.size() >= kHeldMax) {
    const auto oldest = held_.front();
    held_.erase(held_.begin());
    co_return co_await ops.release(ctx_, oldest.gfid, oldest.handle);
  }
  const auto name = shared_name(fmt::format("removed-{}-{}", number_, ++made_));
  CO_TRY(auto opened, co_await ops.create(ctx_, Gfid::root(), name, {.mode = 0600}, O_RDWR | O_EXCL));
  const auto content = fmt::format("{:a<{}}", random_(), 30 + below(9000));
  auto written =
      co_await ops.write(ctx_, opened.attr.gfid, opened.handle, 0, Buffer::copy_of(content), false);
  auto removed = co_await ops.unlink(ctx_, Gfid::root(), name);
  if (!written || !removed) {
    CO_TRY(co_await ops.release(ctx_, opened.attr.gfid, opened.handle));
    co_return written ? removed : written.error();
  }
  held_.push_back({opened.attr.gfid, opened.handle, content});
  co_return Result<void>();
}

Task<Result<void>> SharingClient::use_removed(FileOps& ops) {
  if (held_.empty()) co_return Result<void>();
  const auto& file = held_[below(held_.size())];
  auto read = co_await ops.read(ctx_, file.gfid, file.handle, 0, 1 << 20);
  if (all_.session_ended && read.failed_with(ESTALE)) {
    co_await close_all(ops);
    co_return Result<void>();
  }
  CO_TRY(const auto bytes, std::move(read));
  if (bytes.text() != file.content && !all_.power_lost)
    shared_.problems_.push_back(fmt::format("removed file {}, still open: {} bytes instead of {}, or others",
                                            file.gfid.hex(), bytes.size(), file.content.size()));
  co_return Result<void>();
}

}  // namespace polder
