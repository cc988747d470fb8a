// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/admin/admin_api.h"

#include <unistd.h>

#include "base/coro.h"
#include "base/log.h"
#include "core-volume/cluster/certificates.h"

namespace polder {

namespace {

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    if (path.front() == '/') path.remove_prefix(1);
    auto part = path.substr(0, path.find('/'));
    parts.emplace_back(part);
    path.remove_prefix(part.size());
  }
  return parts;
}

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& parts,
             std::map<std::string, std::string>& parameters) {
  if (pattern.size() != parts.size()) return false;
  parameters.clear();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (pattern[i].starts_with('{')) {
      parameters[pattern[i].substr(1, pattern[i].size() - 2)] = parts[i];
    } else if (pattern[i] != parts[i]) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<void> check_access(const PeerIdentity& peer, AdminAccess access) {
  if (access == AdminAccess::kEverybody) return {};
  if (peer.uid) {
    if (*peer.uid == 0 || *peer.uid == geteuid()) return {};
    return Error(EACCES).with("only root may do this: use sudo (you are uid {})", *peer.uid);
  }
  if (!peer.authenticated) {
    return Error(EACCES).with(
        "a certificate of this cluster is needed; join with a token of 'polder cluster token'");
  }
  auto who = parse_common_name(peer.common_name);
  if (!who) return Error(EACCES).with("{}", who.error().context());
  if (access == AdminAccess::kMember) return {};
  if (who->role == CertificateRole::kAdmin || who->role == CertificateRole::kNode) return {};
  return Error(EACCES).with("the certificate '{}' does not allow administration", peer.common_name);
}

void AdminApi::add(std::string method, std::string pattern, AdminHandler handler, AdminAccess access) {
  routes_.push_back({std::move(method), parts_of(pattern), std::move(handler), access});
}

const AdminApi::Route* AdminApi::find(AdminRequest& request) const {
  auto parts = parts_of(request.path);
  for (const auto& route : routes_) {
    if (route.method == request.method && matches(route.parts, parts, request.parameters)) return &route;
  }
  request.parameters.clear();
  return nullptr;
}

namespace {

/// Runs a handler; what it throws is a bug of ours, and an answer all the same.
template <typename T, typename Handler>
Task<Result<T>> run_handler(const Handler& handler, const AdminRequest& request) {
  std::string failure;
  try {
    co_return co_await handler(request);
  } catch (const std::exception& exception) {
    failure = exception.what();
  }
  log::error("{} {}: {}", request.method, request.path, failure);
  co_return Error(EIO).with("{} {} failed inside polderd: {}", request.method, request.path, failure);
}

}  // namespace

void AdminApi::add_text(std::string path, AdminTextHandler handler, AdminAccess access) {
  texts_[std::move(path)] = {std::move(handler), access};
}

Task<Result<AdminText>> AdminApi::call_text(AdminRequest request) const {
  const auto& [handler, access] = texts_.at(request.path);
  CO_TRY(check_access(request.peer, access));
  co_return co_await run_handler<AdminText>(handler, request);
}

Task<Result<json::value>> AdminApi::call(AdminRequest request) const {
  const Route* route = find(request);
  if (!route) {
    // Strangers learn nothing about what there is.
    CO_TRY(check_access(request.peer, AdminAccess::kMember));
    co_return Error(ENOSYS).with("this polderd does not know {} {}; is it older than the command?",
                                 request.method, request.path);
  }
  CO_TRY(check_access(request.peer, route->access));
  co_return co_await run_handler<json::value>(route->handler, request);
}

}  // namespace polder
