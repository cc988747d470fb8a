// SPDX-License-Identifier: GPL-3.0-or-later
// verify: every object compared at the same position on both sites, while both are in use. An object that
// differs may just be on its way, so it is compared again once the secondary has applied what the primary had
// by then; what still differs, and has not changed meanwhile, is different.
#include "base/clock.h"
#include "base/coro.h"
#include "base/on_worker.h"
#include "core-volume/layers/store/scan.h"
#include "georep/primary/session_impl.h"
#include "georep/protocol/digest.h"
#include "georep/protocol/record_block.h"

namespace polder::georep {

namespace {

constexpr std::size_t kObjectsAtOnce = 128;
constexpr int kRounds = 20;

}  // namespace

Task<Result<std::vector<VerifyReply::Object>>> PrimarySession::Impl::ask_digests(
    const std::vector<Gfid>& gfids) {
  if (!connected()) co_return Error(ENOTCONN).with("there is no connection to the secondary");
  const auto id = next_verify_++;
  verify_reply_.reset();
  StreamMessage message;
  message.mutable_verify_request()->set_id(id);
  for (const auto& gfid : gfids) message.mutable_verify_request()->add_gfid(gfid_bytes(gfid));
  stream_->send(message);
  while (!verify_reply_) {
    CO_TRY(check_running());
    if (!connected()) co_return Error(ENOTCONN).with("the connection to the secondary ended");
    CO_TRY(co_await progress_.wait());
  }
  auto reply = *std::exchange(verify_reply_, std::nullopt);
  if (reply.object_size() != static_cast<int>(gfids.size()))
    co_return Error(EPROTO).with("verify: objects are missing in the reply");
  co_return std::vector<VerifyReply::Object>(reply.object().begin(), reply.object().end());
}

/// Adds those that differ right now.
Task<Result<void>> PrimarySession::Impl::compare(const std::vector<Gfid>& gfids, std::vector<Gfid>& different,
                                                 std::vector<Gfid>& missing) {
  for (std::size_t first = 0; first < gfids.size(); first += kObjectsAtOnce) {
    const std::vector<Gfid> some(
        gfids.begin() + static_cast<std::ptrdiff_t>(first),
        gfids.begin() + static_cast<std::ptrdiff_t>(std::min(first + kObjectsAtOnce, gfids.size())));
    CO_TRY(auto theirs, co_await ask_digests(some));
    for (std::size_t i = 0; i < some.size(); ++i) {
      CO_TRY(auto ours,
             co_await on_worker(seams_.workers, [&] { return digest_object(brick_.store, some[i]); }));
      if (!ours && theirs[i].absent()) continue;
      if (ours && !theirs[i].absent() && *ours == theirs[i].digest()) continue;
      (theirs[i].absent() ? missing : different).push_back(some[i]);
    }
  }
  co_return Result<void>();
}

Task<Result<VerifyReport>> PrimarySession::verify() {
  auto& impl = *impl_;
  const Impl::Use use(impl);
  CO_TRY(auto guard, co_await impl.verify_lock_.lock({{"verify", KeyLocks::Mode::kExclusive}}));
  VerifyReport report;
  auto scan = impl.brick_.store.scan({});
  std::vector<Gfid> suspects;
  while (true) {
    CO_TRY(auto items, co_await on_worker(impl.seams_.workers, [&] { return scan->next(kObjectsAtOnce); }));
    if (items.empty()) break;
    std::vector<Gfid> gfids;
    for (const auto& item : items) gfids.push_back(item.gfid);
    CO_TRY(co_await impl.compare(gfids, suspects, suspects));
    report.objects += gfids.size();
  }
  for (int round = 0; round < kRounds && !suspects.empty(); ++round) {
    CO_TRY(report.position, co_await checkpoint());
    const auto again = std::exchange(suspects, {});
    std::vector<Gfid> missing;
    CO_TRY(co_await impl.compare(again, suspects, missing));
    report.different = suspects;
    report.missing = missing;
    suspects.insert(suspects.end(), missing.begin(), missing.end());
    if (impl.brick_.journal.stable_index() == report.position)
      break;  // nothing changed meanwhile: they do differ
  }
  if (suspects.empty()) {
    report.different.clear();
    report.missing.clear();
  }
  if (report.position == 0) report.position = impl.applied_.index;
  co_return report;
}

}  // namespace polder::georep
