// SPDX-License-Identifier: GPL-3.0-or-later
// Result<T>: a value or an Error. TRY and CO_TRY are the project's only two macros for it.
#pragma once
#include <expected>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace polder {

template <typename T = void>
class [[nodiscard]] Result : public std::expected<T, Error> {
  using Base = std::expected<T, Error>;

 public:
  using Base::Base;
  Result()
    requires std::is_default_constructible_v<Base>
  = default;
  Result(Error error) : Base(std::unexpect, std::move(error)) {}  // NOLINT: an Error is a Result

  /// Same result with context added when it is an error: `return disk.fsync(fd).with("sync {}", path)`.
  template <typename... Args>
  Result with(fmt::format_string<Args...> format, Args&&... args) && {
    if (!*this) return std::move(this->error()).with(format, std::forward<Args>(args)...);
    return std::move(*this);
  }
  bool failed_with(int code) const { return !*this && this->error().is(code); }
};

}  // namespace polder

#define POLDER_CONCAT_(a, b) a##b
#define POLDER_CONCAT(a, b) POLDER_CONCAT_(a, b)
#define POLDER_TRY_IMPL(leave, tmp, first, ...)                         \
  auto tmp = (POLDER_TRY_EXPRESSION(first __VA_OPT__(, ) __VA_ARGS__)); \
  if (!tmp) leave Error(std::move(tmp).error());                        \
  __VA_OPT__(first = *std::move(tmp))
#define POLDER_TRY_EXPRESSION(first, ...) \
  POLDER_TRY_EXPRESSION_##__VA_OPT__(2)(first __VA_OPT__(, ) __VA_ARGS__)
#define POLDER_TRY_EXPRESSION_(first) first
#define POLDER_TRY_EXPRESSION_2(first, ...) __VA_ARGS__

// TRY(expression);            leaves with the error, drops the value
// TRY(auto value, expression) leaves with the error, binds the value
// CO_TRY is the same inside a coroutine. Each expands to several statements: always inside braces.
#define TRY(...) POLDER_TRY_IMPL(return, POLDER_CONCAT(try_, __COUNTER__), __VA_ARGS__)
#define CO_TRY(...) POLDER_TRY_IMPL(co_return, POLDER_CONCAT(try_, __COUNTER__), __VA_ARGS__)
