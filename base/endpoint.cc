// SPDX-License-Identifier: GPL-3.0-or-later
#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "base/transport.h"

namespace polder {

namespace {

Result<std::uint16_t> parse_port(std::string_view text, std::string_view whole) {
  std::uint16_t port = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || stop != text.data() + text.size()) {
    return Error(EINVAL).with("address '{}': '{}' is not a port number (0 to 65535)", whole, text);
  }
  return port;
}

bool is_ipv6(const std::string& host) {
  in6_addr ignored;
  std::string address = host.substr(0, host.find('%'));  // fe80::1%eth0
  return ::inet_pton(AF_INET6, address.c_str(), &ignored) == 1;
}

/// Not "unix": with its port it would be a path.
bool is_host_name(std::string_view host) {
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  };
  return !host.empty() && host.size() <= 253 && host[0] != '-' && host != "unix" &&
         std::ranges::all_of(host, allowed);
}

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view text) {
  if (text.starts_with("unix:")) {
    std::string path(text.substr(5));
    if (!path.starts_with('/') || path.find('\0') != std::string::npos) {
      return Error(EINVAL).with("address '{}': the path after unix: must be absolute", text);
    }
    return unix_socket(std::move(path));
  }
  Endpoint endpoint{Kind::kTls, {}, kDefaultPort};
  std::string_view rest;
  if (text.starts_with('[')) {
    auto end = text.find(']');
    endpoint.host = text.substr(1, end == text.npos ? end : end - 1);
    if (end == text.npos || !is_ipv6(endpoint.host)) {
      return Error(EINVAL).with("address '{}': an IPv6 address in brackets expected, as in [fd00::1]:{}",
                                text, kDefaultPort);
    }
    rest = text.substr(end + 1);
  } else {
    endpoint.host = text.substr(0, text.find(':'));
    rest = text.substr(endpoint.host.size());
    if (std::ranges::count(text, ':') > 1) {
      return Error(EINVAL).with("address '{}': write IPv6 addresses in brackets, as in [fd00::1]:{}", text,
                                kDefaultPort);
    }
    if (!is_host_name(endpoint.host)) {
      return Error(EINVAL).with("address '{}': HOST, HOST:PORT, [IPV6]:PORT or unix:/PATH expected", text);
    }
  }
  if (rest.empty()) return endpoint;
  if (rest[0] != ':') return Error(EINVAL).with("address '{}': ':PORT' expected after the brackets", text);
  TRY(endpoint.port, parse_port(rest.substr(1), text));
  return endpoint;
}

std::string Endpoint::text() const {
  if (kind == Kind::kUnix) return "unix:" + host;
  if (host.find(':') != std::string::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

}  // namespace polder
