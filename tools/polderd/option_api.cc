// SPDX-License-Identifier: GPL-3.0-or-later
// Routes of volume options: set, get, reset, help.
#include "base/coro.h"
#include "core-volume/cluster/volume_options.h"
#include "tools/polderd/daemon.h"

namespace polder {

namespace {

json::array help() {
  json::array out;
  for (const auto& option : volume_options()) {
    out.push_back(json::object{{"option", option.name},
                               {"default", option.default_value},
                               {"help", option.help},
                               {"needs_restart", option.needs_restart}});
  }
  return out;
}

Task<Result<json::value>> get(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(auto key, json::string_field_or(request.body, "key", ""));
  if (!key.empty()) {
    CO_TRY(find_volume_option(key));
  }
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, request.parameter("volume")));
  json::array out;
  for (const auto& option : volume_options()) {
    if (!key.empty() && option.name != key) continue;
    out.push_back(json::object{{"option", option.name},
                               {"value", option_text(volume.value.options, option.name)},
                               {"is_default", !volume.value.options.contains(std::string(option.name))}});
  }
  co_return out;
}

Task<Result<json::value>> set(Daemon& daemon, const AdminRequest& request, bool reset) {
  auto name = request.parameter("volume");
  CO_TRY(auto key, json::string_field(request.body, "key"));
  std::optional<std::string> value;
  if (!reset) {
    CO_TRY(value, json::string_field(request.body, "value"));
  }
  CO_TRY(auto normal, co_await daemon.node().volumes.set_option(name, key, value));
  CO_TRY(const auto* option, find_volume_option(key));
  bool restart = option->needs_restart && daemon.node().volumes.running(name) != nullptr;
  co_return json::object{{"option", key}, {"value", normal}, {"restart_needed", restart}};
}

}  // namespace

void add_option_routes(AdminApi& api, Daemon& daemon) {
  api.add("GET", "/v1/volume-options",
          [](const AdminRequest&) -> Task<Result<json::value>> { co_return help(); });
  api.add("GET", "/v1/volumes/{volume}/options",
          [&daemon](const AdminRequest& request) { return get(daemon, request); });
  api.add("POST", "/v1/volumes/{volume}/options",
          [&daemon](const AdminRequest& request) { return set(daemon, request, false); });
  api.add("DELETE", "/v1/volumes/{volume}/options",
          [&daemon](const AdminRequest& request) { return set(daemon, request, true); });
}

}  // namespace polder
