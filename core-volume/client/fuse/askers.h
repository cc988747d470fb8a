// SPDX-License-Identifier: GPL-3.0-or-later
// Askers: the threads that wait for answers from the mount. While there are many for the machine's CPUs, the
// loop sleeps rather than polls: who has got an answer needs the CPU, and there is always somebody awake to
// wake a sleeper cheaply. (Many requests of one thread are read-ahead, for which polling pays.) Loop thread
// only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>

namespace polder {

class Askers {
 public:
  explicit Askers(unsigned cpus) : few_(kForEachCpu * std::size_t{cpus}) {}

  /// Waits as long as it lives.
  class Waiting {
   public:
    Waiting(Askers& askers, std::uint32_t thread)
        : threads_(askers.threads_), at_(threads_.try_emplace(thread).first) {
      ++at_->second;
    }
    ~Waiting() {
      if (--at_->second == 0) threads_.erase(at_);
    }
    Waiting(const Waiting&) = delete;

   private:
    std::map<std::uint32_t, int>& threads_;
    std::map<std::uint32_t, int>::iterator at_;
  };

  bool are_many() const { return threads_.size() > few_; }

 private:
  static constexpr std::size_t kForEachCpu = 2;

  const std::size_t few_;
  std::map<std::uint32_t, int> threads_;  // and their requests
};

}  // namespace polder
