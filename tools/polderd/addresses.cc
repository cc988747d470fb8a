// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polderd/addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>

#include "core-volume/cluster/records.h"

namespace polder {

namespace {

std::string text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size()) ? text.data() : "";
  }
  if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) return {};
    return ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size()) ? text.data() : "";
  }
  return {};
}

}  // namespace

std::string machine_name() {
  std::array<char, 256> buffer{};
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return "node";
  std::string name(buffer.data());
  name = name.substr(0, name.find('.')).substr(0, 63);
  for (auto& c : name) {
    if (!check_name("name", std::string("a") + c)) c = '-';
  }
  return check_name("name", name) ? name : "node";
}

std::vector<std::string> reachable_addresses(const Endpoint& listen) {
  auto with_port = [&](std::string host) {
    return Endpoint{Endpoint::Kind::kTls, std::move(host), listen.port}.text();
  };
  if (listen.host != "0.0.0.0" && listen.host != "::") return {with_port(listen.host)};
  std::vector<std::string> out;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) == 0) {
    for (const auto* it = list; it; it = it->ifa_next) {
      bool usable = it->ifa_addr && (it->ifa_flags & IFF_UP) && !(it->ifa_flags & IFF_LOOPBACK);
      if (!usable || (listen.host == "0.0.0.0" && it->ifa_addr->sa_family != AF_INET)) continue;
      auto host = text_of(it->ifa_addr);
      if (!host.empty() && out.size() < 8) out.push_back(with_port(host));
    }
    ::freeifaddrs(list);
  }
  if (out.empty()) out.push_back(with_port(listen.host == "::" ? "::1" : "127.0.0.1"));
  return out;
}

}  // namespace polder
