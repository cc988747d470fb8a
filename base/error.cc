// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/error.h"

#include <cstring>

namespace polder {

std::string Error::message() const {
  // strerrordesc_np: thread-safe, and not translated, so that logs and scripts are stable.
  const char* text = strerrordesc_np(code_);
  std::string system = text ? std::string(text) : fmt::format("error {}", code_);
  if (context().empty()) return system;
  // A daemon's whole sentence ends so already.
  if (context().ends_with(": " + system)) return std::string(context());
  return fmt::format("{}: {}", context(), system);
}

void Error::add_context(std::string text) {
  if (context_) text += ": " + *context_;
  context_ = std::make_shared<const std::string>(std::move(text));
}

}  // namespace polder
