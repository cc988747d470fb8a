// SPDX-License-Identifier: GPL-3.0-or-later
// SeededOpenssl: the keys, certificates and tokens of a simulated world are a function of its seed as well:
// their lengths vary, and with them everything that is sent and stored.
#pragma once
#include <cstdint>

namespace polder {

class SeededOpenssl {
 public:
  /// For the whole process, as long as the object lives; one at a time.
  explicit SeededOpenssl(std::uint64_t seed);
  ~SeededOpenssl();
  SeededOpenssl(const SeededOpenssl&) = delete;
};

}  // namespace polder
