// SPDX-License-Identifier: GPL-3.0-or-later
// NameHints: what names showed when somebody looked last. Only a guess of what to lock: whoever uses one
// looks again under the locks, and begins anew when it was wrong. Saves a trip to a worker. Loop thread only.
#pragma once
#include <map>

#include "changelog/record/record.h"

namespace polder {

class NameHints {
 public:
  struct Hint {
    Gfid gfid;  // nil: unknown, or no such name
    bool directory = false;
  };

  Hint find(const EntryName& name) const {
    auto at = hints_.find(name);
    return at == hints_.end() ? Hint{} : at->second;
  }
  void learn(const EntryName& name, const Hint& hint) {
    if (hints_.size() >= kMax) hints_.clear();
    hints_[name] = hint;
  }
  void forget(const EntryName& name) { hints_.erase(name); }
  std::size_t size() const { return hints_.size(); }

 private:
  static constexpr std::size_t kMax = 65536;
  std::map<EntryName, Hint> hints_;
};

}  // namespace polder
