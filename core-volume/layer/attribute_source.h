// SPDX-License-Identifier: GPL-3.0-or-later
// Attributes that travel along with the answers to other questions, from bricks to client caches: after a
// change of names those of its directories, which the kernel asks for next. Advisory: whoever does not listen
// asks.
#pragma once
#include <functional>

#include "core-volume/layer/file_attr.h"

namespace polder {

class AttributeSource {
 public:
  virtual ~AttributeSource() = default;
  /// One listener, called on the loop thread before the operation that brought the attributes returns; it
  /// must not block or call back. Later calls for one object may bring older attributes: compare the change
  /// index.
  virtual void on_attributes(std::function<void(const FileAttr&)> listener) = 0;
};

}  // namespace polder
