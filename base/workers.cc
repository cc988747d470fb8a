// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/workers.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace polder {

namespace {

using Job = std::move_only_function<void()>;

class ThreadWorkers final : public Workers {
 public:
  explicit ThreadWorkers(unsigned threads) {
    // Signals belong to the loop thread; a worker must not swallow SIGTERM.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < std::max(1U, threads); ++i) {
      threads_.emplace_back([this] { run(); });
      pthread_setname_np(threads_.back().native_handle(), "polder-worker");
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~ThreadWorkers() override {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  bool are_threads() const override { return true; }
  void submit(Job job) override {
    {
      std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
  }

 private:
  void run() noexcept {  // an exception out of a job is a bug: the process ends here
    for (;;) {
      Job job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

class InlineWorkers final : public Workers {
 public:
  void submit(Job job) override { job(); }
};

}  // namespace

std::unique_ptr<Workers> make_thread_workers(unsigned threads) {
  return std::make_unique<ThreadWorkers>(threads);
}
std::unique_ptr<Workers> make_inline_workers() {
  return std::make_unique<InlineWorkers>();
}

}  // namespace polder
