// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/json_fields.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace polder::json {

namespace {

constexpr std::size_t kText_bytes_max = 16u << 20;

Result<const value*> field(const object& from, std::string_view name) {
  auto found = from.find(name);
  if (found == from.end()) return Error(EINVAL).with("the field '{}' is missing", name);
  return &found->value();
}

Error wrong_type(std::string_view name, std::string_view type) {
  return Error(EINVAL).with("the field '{}' is not {}", name, type);
}

}  // namespace

Result<value> parse(std::string_view text) {
  if (text.size() > kText_bytes_max) return Error(EINVAL).with("JSON of {} bytes", text.size());
  boost::json::parse_options options;
  options.max_depth = 32;
  boost::system::error_code failure;
  auto parsed = boost::json::parse(text, failure, {}, options);
  if (failure) return Error(EINVAL).with("not JSON: {}", failure.message());
  return parsed;
}

std::string text(const value& of) {
  return boost::json::serialize(of);
}

Result<std::string> string_field(const object& from, std::string_view name) {
  TRY(const value* found, field(from, name));
  if (!found->is_string()) return wrong_type(name, "a string");
  return std::string(found->get_string());
}

Result<std::uint64_t> number_field(const object& from, std::string_view name, std::uint64_t maximum) {
  TRY(const value* found, field(from, name));
  boost::system::error_code failure;
  auto number = found->is_number() ? found->to_number<std::uint64_t>(failure) : 0;
  if (!found->is_number() || failure) return wrong_type(name, "a whole number that is not negative");
  if (number > maximum)
    return Error(EINVAL).with("the field '{}' is {}; at most {} is possible", name, number, maximum);
  return number;
}

Result<bool> bool_field(const object& from, std::string_view name) {
  TRY(const value* found, field(from, name));
  if (!found->is_bool()) return wrong_type(name, "true or false");
  return found->get_bool();
}

Result<object> object_field(const object& from, std::string_view name) {
  TRY(const value* found, field(from, name));
  if (!found->is_object()) return wrong_type(name, "an object");
  return found->get_object();
}

Result<array> array_field(const object& from, std::string_view name) {
  TRY(const value* found, field(from, name));
  if (!found->is_array()) return wrong_type(name, "an array");
  return found->get_array();
}

Result<std::vector<std::string>> strings_field(const object& from, std::string_view name) {
  TRY(auto items, array_field(from, name));
  std::vector<std::string> out;
  for (const auto& item : items) {
    if (!item.is_string()) return wrong_type(name, "an array of strings");
    out.emplace_back(item.get_string());
  }
  return out;
}

Result<std::string> string_field_or(const object& from, std::string_view name, std::string otherwise) {
  if (!from.contains(name)) return otherwise;
  return string_field(from, name);
}

Result<std::uint64_t> number_field_or(const object& from, std::string_view name, std::uint64_t otherwise) {
  if (!from.contains(name)) return otherwise;
  return number_field(from, name);
}

Result<bool> bool_field_or(const object& from, std::string_view name, bool otherwise) {
  if (!from.contains(name)) return otherwise;
  return bool_field(from, name);
}

Result<object> as_object(const value& of) {
  if (!of.is_object()) return Error(EINVAL).with("a JSON object is needed here");
  return of.get_object();
}

}  // namespace polder::json
