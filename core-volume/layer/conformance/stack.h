// SPDX-License-Identifier: GPL-3.0-or-later
// What the conformance suite needs of a layer or stack under test, and how one joins:
//
//   // my_layer_test.cc, linked with polder_conformance
//   class MyStack : public LoopStack { …; FileOps& ops() override { return layer_; } };
//   INSTANTIATE_TEST_SUITE_P(MyLayer, Conformance, testing::Values(conformance_target<MyStack>("my_layer")),
//                            conformance_name);
#pragma once
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "core-volume/layer/file_ops.h"

namespace polder {

/// A fresh, empty volume under test, and the loop it runs on.
class Stack {
 public:
  virtual ~Stack() = default;
  virtual FileOps& ops() = 0;
  /// Runs all tasks concurrently until the last has ended. Reports a test failure when they wait for what
  /// never comes.
  virtual void run(std::vector<Task<void>> tasks) = 0;
};

/// A stack on a plain Asio loop of its own. Derived stacks end their background work in their destructor,
/// with run().
class LoopStack : public Stack {
 public:
  LoopStack();
  ~LoopStack() override;
  void run(std::vector<Task<void>> tasks) override;

 protected:
  boost::asio::any_io_executor executor();

 private:
  struct Loop;
  std::unique_ptr<Loop> loop_;
};

struct ConformanceFeatures {
  bool retries = true;  // recognises a change that is sent again with ctx.retry
  bool replay = true;   // takes replay(); a client stack may not
  bool locks = false;   // test_lock and set_lock work
};

struct ConformanceTarget {
  std::string name;  // letters, digits and '_'
  std::function<std::unique_ptr<Stack>()> make;
  ConformanceFeatures features;
};

void PrintTo(const ConformanceTarget& target, std::ostream* out);  // for GoogleTest: the name

template <typename S>
ConformanceTarget conformance_target(std::string name, ConformanceFeatures features = {}) {
  return {std::move(name), [] { return std::make_unique<S>(); }, features};
}

}  // namespace polder
