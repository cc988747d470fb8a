// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/faults/faults_layer.h"

#include <map>

#include "base/coro.h"

namespace polder {

class FaultsLayer::Injector : public Hook {
 public:
  explicit Injector(Clock& clock) : clock_(clock) {}

  Task<Result<void>> before(const OpCall& call) override {
    if (!armed_ || !matches(call)) co_return Result<void>();
    const Fault fault = *armed_;
    ++matched_;
    if (matched_ < fault.nth || (matched_ > fault.nth && !fault.forever)) co_return Result<void>();
    ++fired_;
    if (fault.after) {
      lost_answers_[&call] = fault;
      co_return Result<void>();
    }
    CO_TRY(co_await delay(fault));
    if (fault.error != 0) co_return Error(fault.error).with("injected fault in {}", to_string(call.kind));
    co_return Result<void>();
  }

  Task<Result<void>> after(const OpCall& call, const Error*) override {
    auto at = lost_answers_.find(&call);
    if (at == lost_answers_.end()) co_return Result<void>();
    const Fault fault = at->second;
    CO_TRY(co_await delay(fault));
    if (fault.error == 0) co_return Result<void>();
    co_return Error(fault.error)
        .with("injected loss of the answer to {}", to_string(call.kind))
        .set_maybe_applied();
  }

  void left(const OpCall& call) noexcept override { lost_answers_.erase(&call); }

  void arm(std::optional<Fault> fault) {
    armed_ = fault;
    matched_ = fired_ = 0;
  }
  std::uint64_t matched() const { return matched_; }
  std::uint64_t fired() const { return fired_; }

 private:
  bool matches(const OpCall& call) const {
    if (armed_->kind && *armed_->kind != call.kind) return false;
    return !armed_->changes_only || call.is_change;
  }

  Task<Result<void>> delay(Fault fault) {
    if (fault.delay <= nanoseconds(0)) co_return Result<void>();
    co_return co_await clock_.sleep_for(fault.delay);
  }

  Clock& clock_;
  std::optional<Fault> armed_;
  std::uint64_t matched_ = 0, fired_ = 0;
  std::map<const OpCall*, Fault> lost_answers_;  // operations on their way whose answer will be lost
};

FaultsLayer::FaultsLayer(FileOps& below, Clock& clock)
    : FaultsLayer(below, std::make_shared<Injector>(clock)) {}
FaultsLayer::FaultsLayer(FileOps& below, std::shared_ptr<Injector> injector)
    : HookLayer(below, injector), injector_(std::move(injector)) {}

void FaultsLayer::arm(const Fault& fault) {
  injector_->arm(fault);
}
void FaultsLayer::disarm() {
  injector_->arm(std::nullopt);
}
std::uint64_t FaultsLayer::matched() const {
  return injector_->matched();
}
std::uint64_t FaultsLayer::fired() const {
  return injector_->fired();
}

}  // namespace polder
