// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/barrier/barrier_layer.h"

#include "base/concurrency_impl.h"
#include "base/coro.h"
#include "base/log.h"

namespace polder {

// Invariants: a change is in flight between before() and left(); while up_ is set, in_flight_ never grows.
class BarrierLayer::Gate : public Hook {
 public:
  explicit Gate(Clock& clock) : clock_(clock) {}

  Task<Result<void>> before(const OpCall& call) override {
    if (call.is_change) {
      CO_TRY(co_await wait_until_down());
      ++in_flight_;
    }
    co_return Result<void>();
  }

  void left(const OpCall& call) noexcept override {
    if (call.is_change && --in_flight_ == 0) changed_.notify_all();
  }

  Task<Result<void>> raise(std::uint64_t epoch, nanoseconds hard_limit) {
    fall_when_due();
    if (up_) co_return Error(EBUSY).with("barrier {} while {} is up", epoch, epoch_);
    up_ = true;
    fallen_ = false;
    epoch_ = epoch;
    raised_at_ = clock_.boot_time();
    deadline_ = raised_at_ + hard_limit;
    while (in_flight_ > 0) {
      Result<void> waited = co_await with_deadline(clock_, deadline_, drained(epoch));
      if (!waited || closed_ || !is_up(epoch)) co_return give_up(epoch, waited);
    }
    co_return Result<void>();
  }

  Result<nanoseconds> lower(std::uint64_t epoch) {
    fall_when_due();
    if (epoch_ == epoch && fallen_)
      return Error(ETIMEDOUT).with("barrier {} fell at its limit before it was lowered", epoch);
    if (!is_up(epoch)) return Error(EINVAL).with("barrier {} is not up", epoch);
    let_down();
    return clock_.boot_time() - raised_at_;
  }

  /// The layer is going away: whoever waits is cancelled.
  void close() {
    closed_ = true;
    changed_.notify_all();
  }

  bool is_up() const { return up_ && clock_.boot_time() < deadline_; }
  std::size_t in_flight() const { return in_flight_; }
  std::size_t held() const { return held_; }

 private:
  struct Held {
    std::size_t& count;
    explicit Held(std::size_t& counter) : count(counter) { ++count; }
    ~Held() { --count; }
  };

  // with_deadline() starts its task a little later, and an event between would be missed: so each of these
  // looks at its condition itself, first of all.
  Task<Result<void>> drained(std::uint64_t epoch) {
    while (in_flight_ > 0 && is_up(epoch) && !closed_) {
      CO_TRY(co_await changed_.wait());
    }
    co_return Result<void>();
  }
  Task<Result<void>> down() {
    while (up_ && !closed_) {
      CO_TRY(co_await changed_.wait());
    }
    co_return Result<void>();
  }

  Task<Result<void>> wait_until_down() {
    fall_when_due();
    if (!up_) co_return Result<void>();
    Held held(held_);
    while (up_) {
      Result<void> waited = co_await with_deadline(clock_, deadline_, down());
      if (closed_) co_return Error(ECANCELED);
      // Plain ETIMEDOUT would read as a failed change, perhaps applied; it is only time to go on.
      if (waited.failed_with(ETIMEDOUT))
        fall_when_due();
      else if (!waited)
        co_return std::move(waited);
    }
    co_return Result<void>();
  }

  bool is_up(std::uint64_t epoch) const { return up_ && epoch_ == epoch; }

  void fall_when_due() {
    if (!up_ || clock_.boot_time() < deadline_) return;
    log::warning("barrier {} fell by itself after {} ms: its snapshot is void", epoch_,
                 std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - raised_at_).count());
    fallen_ = true;
    let_down();
  }

  void let_down() {
    up_ = false;
    changed_.notify_all();
  }

  Error give_up(std::uint64_t epoch, const Result<void>& waited) {
    const bool cancelled = closed_ || waited.failed_with(ECANCELED);
    const std::size_t left = in_flight_;
    if (is_up(epoch)) {
      fallen_ = true;
      let_down();
    }
    if (cancelled) return Error(ECANCELED);
    return Error(ETIMEDOUT).with("barrier {}: {} changes still in flight at the limit", epoch, left);
  }

  Clock& clock_;
  Event changed_;  // the barrier went down, or the last change in flight ended
  bool up_ = false;
  bool fallen_ = false;  // the barrier of epoch_ went down by itself
  bool closed_ = false;
  std::uint64_t epoch_ = 0;
  nanoseconds raised_at_{0}, deadline_{0};
  std::size_t in_flight_ = 0, held_ = 0;
};

BarrierLayer::BarrierLayer(FileOps& below, Clock& clock)
    : BarrierLayer(below, std::make_shared<Gate>(clock)) {}
BarrierLayer::BarrierLayer(FileOps& below, std::shared_ptr<Gate> gate)
    : HookLayer(below, gate), gate_(std::move(gate)) {}
BarrierLayer::~BarrierLayer() {
  gate_->close();
}

Task<Result<void>> BarrierLayer::raise(std::uint64_t epoch, nanoseconds hard_limit) {
  std::shared_ptr<Gate> gate = gate_;
  co_return co_await gate->raise(epoch, hard_limit);
}

Result<nanoseconds> BarrierLayer::lower(std::uint64_t epoch) {
  return gate_->lower(epoch);
}
bool BarrierLayer::is_up() const {
  return gate_->is_up();
}
std::size_t BarrierLayer::in_flight() const {
  return gate_->in_flight();
}
std::size_t BarrierLayer::held() const {
  return gate_->held();
}

}  // namespace polder
