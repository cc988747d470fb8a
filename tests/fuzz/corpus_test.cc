// SPDX-License-Identifier: GPL-3.0-or-later
// Every committed input through its target, without libFuzzer. An input that fails ends the process, with the
// property that did not hold; its name was printed before.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

namespace polder::fuzz {
namespace {

namespace fs = std::filesystem;

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class FuzzCorpus : public testing::TestWithParam<Target> {};

TEST_P(FuzzCorpus, Replays) {
  const auto corpus = fs::path(POLDER_FUZZ_CORPUS) / GetParam().name;
  ASSERT_TRUE(fs::is_directory(corpus)) << "a target needs a corpus: " << corpus;
  for (const auto& entry : fs::directory_iterator(corpus)) {
    SCOPED_TRACE(entry.path());
    std::cerr << entry.path() << "\n";
    GetParam().run(as_bytes(content_of(entry.path())));
  }
  GetParam().run({});
}

/// What the encoders of this version give: a corpus of an older one may be all refusals.
TEST_P(FuzzCorpus, TakesWhatTheEncodersGive) {
  for (const auto& [name, seed] : seeds_of(GetParam().name)) {
    SCOPED_TRACE(name);
    GetParam().run(as_bytes(seed));
  }
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpus, testing::ValuesIn(targets()),
                         [](const auto& info) { return info.param.name; });

/// POLDER_FUZZ_SEEDS=DIRECTORY writes the seeds: what the binary files of the corpus are made by.
TEST(FuzzSeeds, AreWritten) {
  const char* directory = std::getenv("POLDER_FUZZ_SEEDS");
  if (!directory) GTEST_SKIP() << "POLDER_FUZZ_SEEDS names no directory";
  for (const auto& target : targets()) {
    const auto corpus = fs::path(directory) / target.name;
    fs::create_directories(corpus);
    for (const auto& [name, seed] : seeds_of(target.name))
      std::ofstream(corpus / name, std::ios::binary) << seed;
  }
}

}  // namespace
}  // namespace polder::fuzz
