// SPDX-License-Identifier: GPL-3.0-or-later
// Reading JSON that we did not necessarily write: every field checked, errors name the field.
#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace polder::json {

using boost::json::array;
using boost::json::object;
using boost::json::value;

/// EINVAL for text that is not one JSON value, deeper than 32 or longer than 16 MiB.
Result<value> parse(std::string_view text);
std::string text(const value& of);

/// EINVAL "VOLUME is missing" or "VOLUME is not a string".
Result<std::string> string_field(const object& from, std::string_view name);
Result<std::uint64_t> number_field(const object& from, std::string_view name,
                                   std::uint64_t maximum = UINT64_MAX);
Result<bool> bool_field(const object& from, std::string_view name);
Result<object> object_field(const object& from, std::string_view name);
Result<array> array_field(const object& from, std::string_view name);
Result<std::vector<std::string>> strings_field(const object& from, std::string_view name);

/// `otherwise` when the field is missing; still EINVAL when it is of the wrong type.
Result<std::string> string_field_or(const object& from, std::string_view name, std::string otherwise);
Result<std::uint64_t> number_field_or(const object& from, std::string_view name, std::uint64_t otherwise);
Result<bool> bool_field_or(const object& from, std::string_view name, bool otherwise);

/// The whole as an object; EINVAL.
Result<object> as_object(const value& of);

}  // namespace polder::json
