// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/memory/memory_layer.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/pass_through.h"

namespace polder {
namespace {

class MemoryStack : public LoopStack {
 public:
  FileOps& ops() override { return memory_; }

 protected:
  std::unique_ptr<Clock> clock_ = make_system_clock();
  HlcClock hlc_{*clock_};
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  MemoryLayer memory_{hlc_, *random_};
};

class PassThroughStack : public MemoryStack {
 public:
  FileOps& ops() override { return layer_; }

 private:
  PassThroughLayer layer_{memory_};
};

INSTANTIATE_TEST_SUITE_P(Layers, Conformance,
                         testing::Values(conformance_target<MemoryStack>("memory"),
                                         conformance_target<PassThroughStack>("pass_through_memory")),
                         conformance_name);

TEST(MemoryDataTest, HolesCostNothing) {
  MemoryData data;
  data.resize(1ull << 50);
  EXPECT_EQ(data.allocated_bytes(), 0u);
  data.write((1ull << 50) - 1, as_bytes("x"));
  EXPECT_EQ(data.allocated_bytes(), MemoryData::kBlock_bytes);
  data.punch(0, 1ull << 50);
  EXPECT_EQ(data.allocated_bytes(), 0u);
  EXPECT_EQ(data.size(), 1ull << 50);
}

TEST(MemoryDataTest, PartialBlocksAreZeroedNotDropped) {
  MemoryData data;
  data.write(0, as_bytes("0123456789"));
  data.punch(2, 3);
  EXPECT_EQ(data.read(0, 100).text(), std::string_view("01\0\0\0"
                                                       "56789",
                                                       10));
  data.resize(4);
  data.resize(8);
  EXPECT_EQ(data.read(0, 100).text(), std::string_view("01\0\0\0\0\0\0", 8));
}

TEST(MemoryDataTest, CopyWithinItself) {
  MemoryData data;
  data.write(5000, as_bytes("abc"));
  data.resize(10'000);
  data.copy(data, 4096, 20'000, 4096);
  EXPECT_EQ(data.size(), 24'096u);
  EXPECT_EQ(data.read(20'904, 3).text(), "abc");
}

}  // namespace
}  // namespace polder
