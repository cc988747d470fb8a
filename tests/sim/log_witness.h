// SPDX-License-Identifier: GPL-3.0-or-later
// LogWitness: remembers the stable records of one changelog, whatever happens to its daemon, and says when
// the log is not the same any more: (lineage, set, term, index) names at most one record, ever (invariant 5),
// without gaps (2), with stamps that rise (9).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "changelog/journal/journal.h"

namespace polder {

class LogWitness {
 public:
  /// Remembers what is stable now and was not at the last look. An error: the disk could not be read, and
  /// what was read is remembered.
  Result<void> look(Journal& log);
  /// look(), and reads all again that the log still reaches back to. What is wrong, the first of it.
  std::vector<std::string> problems(Journal& log);

 private:
  struct Seen {
    std::uint64_t term = 0;
    Hlc hlc;
    std::uint64_t hash = 0;
  };

  Result<void> read(Journal& log, std::uint64_t from);
  void see(const Journal& log, const Record& record);
  void wrong(std::string sentence) {
    if (problems_.empty()) problems_.push_back(std::move(sentence));
  }

  Lineage lineage_;
  std::map<std::uint64_t, Seen> seen_;  // by index, without gaps
  std::vector<std::string> problems_;
};

}  // namespace polder
