// SPDX-License-Identifier: GPL-3.0-or-later
// AdminApi: the routes of a node's admin API. Each part of Polder adds its own at start-up; the server and
// tests call them.
//
//   api.add("POST", "/v1/volumes/{volume}/start", [this](const AdminRequest& request) { return
//   start(request); });
//
// A handler gets a JSON object (the body, or the query of a GET, whose values are strings) and returns a JSON
// value. For long work it may emit() values before: the answer is then one JSON line per value, and the last
// line is {"result": …} or {"error": …, "code": …}.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "base/transport.h"
#include "core-volume/cluster/json_fields.h"

namespace polder {

struct AdminRequest {
  std::string method;
  std::string path;
  std::map<std::string, std::string> parameters;  // of the route's pattern
  json::object body;
  PeerIdentity peer;
  /// Sends `progress` as a line of its own. An error (the caller went away) ends the handler's work.
  std::function<Task<Result<void>>(json::value progress)> emit;

  const std::string& parameter(const std::string& name) const { return parameters.at(name); }
};

using AdminHandler = std::function<Task<Result<json::value>>(const AdminRequest&)>;

/// An answer that is not JSON, for programs that expect a format of their own.
struct AdminText {
  std::string content_type;
  std::string body;
};
using AdminTextHandler = std::function<Task<Result<AdminText>>(const AdminRequest&)>;

/// Who may call a route.
enum class AdminAccess {
  kAdmin,      // root on this machine, certificates "admin:" and "node:"
  kMember,     // anybody with a certificate of the cluster
  kEverybody,  // strangers too: only to prove who they are by a token
};

/// Whether `peer` may use a route of `access`; EACCES says what it lacks.
Result<void> check_access(const PeerIdentity& peer, AdminAccess access);

/// Loop thread only.
class AdminApi {
 public:
  /// `pattern`: parts in braces become parameters. The handler lives as long as the api and may be called
  /// many times at once.
  void add(std::string method, std::string pattern, AdminHandler handler,
           AdminAccess access = AdminAccess::kAdmin);
  /// GET of exactly `path`, answered as text. Errors are JSON, as of all routes.
  void add_text(std::string path, AdminTextHandler handler, AdminAccess access = AdminAccess::kAdmin);
  bool is_text(const AdminRequest& request) const {
    return request.method == "GET" && texts_.contains(request.path);
  }
  Task<Result<AdminText>> call_text(AdminRequest request) const;
  /// Finds the route, checks who asks, calls. ENOSYS: no such route; it names what this version has. An
  /// exception out of a handler is logged and becomes EIO.
  Task<Result<json::value>> call(AdminRequest request) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> parts;
    AdminHandler handler;
    AdminAccess access;
  };
  const Route* find(AdminRequest& request) const;

  std::vector<Route> routes_;
  std::map<std::string, std::pair<AdminTextHandler, AdminAccess>, std::less<>> texts_;
};

}  // namespace polder
