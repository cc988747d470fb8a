// SPDX-License-Identifier: GPL-3.0-or-later
// What every fuzz target is made of. With POLDER_FUZZ a target's file becomes a libFuzzer program; without,
// it is a part of polder_fuzz_corpus_test, which replays the committed corpora.
#pragma once
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"

namespace polder::fuzz {

/// Ends the process, as a crash does: for properties that must hold of whatever was decoded.
void require(bool holds, std::string_view what);

/// Takes an input apart from the front. What is not there any more is zero, or empty.
class Input {
 public:
  explicit Input(ConstBytes bytes) : rest_(bytes) {}

  template <typename Number>
  Number number() {
    Number value{};
    const auto bytes = take(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  ConstBytes take(std::size_t size_bytes);
  /// Up to the separator, which is dropped.
  std::string_view text_until(char separator);
  ConstBytes rest() { return take(rest_.size()); }
  std::string_view text() { return as_text(rest()); }
  bool empty() const { return rest_.empty(); }

 private:
  ConstBytes rest_;
};

using Run = void (*)(ConstBytes input);
struct Target {
  std::string name;  // of its file (fuzz_NAME.cc), corpus and program
  Run run;
};
/// Of this program.
std::vector<Target>& targets();
struct Registration {
  Registration(const char* name, Run run) { targets().push_back({name, run}); }
};

}  // namespace polder::fuzz

/// POLDER_FUZZ_TARGET(name) { … `input` … }
#define POLDER_FUZZ_TARGET(name)                                                       \
  static void fuzz_##name(polder::ConstBytes input);                                   \
  static const polder::fuzz::Registration registration_of_##name(#name, &fuzz_##name); \
  POLDER_FUZZ_ENTRY(name)                                                              \
  static void fuzz_##name([[maybe_unused]] polder::ConstBytes input)

#ifdef POLDER_FUZZ
#define POLDER_FUZZ_ENTRY(name)                                                       \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    fuzz_##name(std::as_bytes(std::span(data, size)));                                \
    return 0;                                                                         \
  }
#else
#define POLDER_FUZZ_ENTRY(name)
#endif
