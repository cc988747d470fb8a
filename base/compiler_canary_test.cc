// SPDX-License-Identifier: GPL-3.0-or-later
// Shapes of coroutines that a compiler got wrong (GCC 12 silently, docs/decisions/0001-clang-19.md). They run
// with whatever compiler builds Polder; a failure here means: do not use this compiler.
#include <gtest/gtest.h>

#include "base/concurrency.h"
#include "tests/support/loop.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

struct Counted {
  static inline int made = 0;
  static inline int destroyed = 0;
  static void reset() { made = destroyed = 0; }

  std::string text;
  explicit Counted(std::string t) : text(std::move(t)) { ++made; }
  Counted(const Counted& other) : text(other.text) { ++made; }
  Counted(Counted&& other) noexcept : text(std::move(other.text)) { ++made; }
  ~Counted() { ++destroyed; }
};

struct Request {
  Counted name;
  std::vector<int> numbers;
  std::string_view note;
};

struct World {
  SimLoop loop;

  Task<bool> yes() { co_return (co_await loop.clock().sleep_for(1s)).has_value(); }
  Task<bool> no() { co_return !co_await yes(); }
  Task<Result<int>> fails() {
    CO_TRY(co_await loop.clock().sleep_for(1s));
    co_return Error(ENOENT);
  }
  template <typename Function>
  Task<std::string> call_template(Function function) {
    (void)co_await yes();
    co_return function();
  }
};

class CompilerCanary : public testing::Test {
 protected:
  void SetUp() override { Counted::reset(); }
  void TearDown() override { EXPECT_EQ(Counted::made, Counted::destroyed); }

  World world_;
};

TEST_F(CompilerCanary, AwaitInAConditionWithoutLocals) {
  struct Shape {
    static Task<int> pick(World& t) {
      if (co_await t.no()) co_return 1;
      if (co_await t.yes()) co_return 2;
      co_return 3;
    }
    static Task<int> count(World& t) {
      int rounds = 0;
      while (co_await t.yes() && !co_await t.no()) {
        if (++rounds == 3) co_return rounds;
      }
      co_return -1;
    }
    static Task<int> choose(World& t) {
      switch (co_await t.yes() ? 1 : 2) {
        case 1:
          co_return 10;
        default:
          co_return 20;
      }
    }
  };
  EXPECT_EQ(world_.loop.run_until_done(Shape::pick(world_)), 2);
  EXPECT_EQ(world_.loop.run_until_done(Shape::count(world_)), 3);
  EXPECT_EQ(world_.loop.run_until_done(Shape::choose(world_)), 10);
}

TEST_F(CompilerCanary, TemporaryAggregateAsArgument) {
  struct Shape {
    static Task<std::size_t> by_value(World& t, Request request) {
      (void)co_await t.yes();
      co_return request.name.text.size() + request.numbers.size() + request.note.size();
    }
    static Task<std::size_t> by_reference(World& t, const Request& request) {
      (void)co_await t.yes();
      co_return request.name.text.size() + request.numbers.size() + request.note.size();
    }
    static Task<std::size_t> run(World& t) {
      std::string name(100, 'n');
      auto size = co_await by_value(t, Request{Counted(name), {1, 2, 3}, "note"});
      size += co_await by_reference(t, Request{Counted(name), {1, 2}, "n"});
      size += co_await by_reference(t, {.name = Counted(name), .numbers = {}, .note = {}});
      co_return size;
    }
  };
  EXPECT_EQ(world_.loop.run_until_done(Shape::run(world_)), 107U + 103U + 100U);
  EXPECT_GT(Counted::made, 3);
}

TEST_F(CompilerCanary, CapturingLambdaAsArgument) {
  struct Shape {
    static Task<std::string> call(World& t, std::function<std::string()> function) {
      (void)co_await t.yes();
      co_return function();
    }
    static Task<std::string> run(World& t) {
      Counted counted(std::string(100, 'x'));
      auto text = co_await call(t, [counted] { return counted.text; });
      text += co_await t.call_template([counted, &text] { return counted.text + text; });
      co_return text;
    }
  };
  EXPECT_EQ(world_.loop.run_until_done(Shape::run(world_)), std::string(300, 'x'));
}

TEST_F(CompilerCanary, TernaryThatPicksATask) {
  struct Shape {
    static Task<int> number(World& t, Counted counted) {
      (void)co_await t.yes();
      co_return static_cast<int>(counted.text.size());
    }
    static Task<int> run(World& t, bool first) {
      co_return co_await (first ? number(t, Counted(std::string(50, 'a')))
                                : number(t, Counted(std::string(60, 'b'))));
    }
    static Task<int> values(World& t, bool first) {
      int result = first ? co_await number(t, Counted("a")) : co_await number(t, Counted("bb"));
      co_return result;
    }
  };
  EXPECT_EQ(world_.loop.run_until_done(Shape::run(world_, true)), 50);
  EXPECT_EQ(world_.loop.run_until_done(Shape::run(world_, false)), 60);
  EXPECT_EQ(world_.loop.run_until_done(Shape::values(world_, true)), 1);
  EXPECT_EQ(world_.loop.run_until_done(Shape::values(world_, false)), 2);
}

TEST_F(CompilerCanary, TryMacroDestroysWhatIsAlive) {
  struct Shape {
    static Task<Result<Counted>> make(World& t, std::string text) {
      if (!co_await t.yes()) co_return Error(EIO);
      co_return Counted(std::move(text));
    }
    static Task<Result<std::size_t>> run(World& t) {
      CO_TRY(auto first, co_await make(t, std::string(40, 'x')));
      Counted second(first.text);
      for (int i = 0; i < 3; ++i) {
        CO_TRY(auto more, co_await make(t, second.text));
        second.text += more.text.substr(0, 1);
      }
      co_return second.text.size();
    }
    static Task<Result<std::size_t>> failing(World& t) {
      CO_TRY(auto first, co_await make(t, std::string(40, 'x')));
      Counted second(first.text);
      CO_TRY(auto number, co_await t.fails());
      co_return second.text.size() + static_cast<std::size_t>(number);
    }
  };
  EXPECT_EQ(world_.loop.run_until_done(Shape::run(world_)).value(), 43U);
  EXPECT_TRUE(world_.loop.run_until_done(Shape::failing(world_)).failed_with(ENOENT));
}

TEST_F(CompilerCanary, LocalsOfAnAbandonedFrameAreDestroyed) {
  struct Shape {
    static Task<void> wait(Event& event) {
      Counted counted("x");
      (void)co_await event.wait();
    }
  };
  {
    SimLoop loop;
    Event event;
    EXPECT_THROW(loop.run_until_done(Shape::wait(event)), std::runtime_error);
    EXPECT_EQ(Counted::made, Counted::destroyed + 1);
  }
}

}  // namespace
}  // namespace polder
