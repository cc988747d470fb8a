// SPDX-License-Identifier: GPL-3.0-or-later
#include <list>

#include "base/concurrency.h"
#include "base/suspend.h"

namespace polder {

struct Event::Waiters {
  std::list<std::shared_ptr<Waiter>> list;

  void wake_all(int code) {
    for (auto& waiter : std::exchange(list, {})) waiter->wake(code);
  }
};

Event::Event() : waiters_(std::make_shared<Waiters>()) {}
Event::~Event() {
  waiters_->wake_all(ECANCELED);
}
void Event::notify_all() {
  waiters_->wake_all(0);
}

Task<Result<void>> Event::wait() {
  auto waiters = waiters_;  // the Event may be gone when this goes on
  int code =
      co_await suspend([&](std::shared_ptr<Waiter> waiter) { waiters->list.push_back(std::move(waiter)); });
  if (code == 0) co_return Result<void>();
  std::erase_if(waiters->list, [](const auto& waiter) { return !waiter->waiting(); });
  co_return Error(code);
}

}  // namespace polder
