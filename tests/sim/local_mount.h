// SPDX-License-Identifier: GPL-3.0-or-later
// LocalMount: a volume of a site, or an activated snapshot, mounted on the site's own machine.
#pragma once
#include <string>

#include "core-volume/rpc/client.h"
#include "tests/sim/sim_site.h"

namespace polder {

class LocalMount {
 public:
  LocalMount(SimSite& site, const std::string& volume)
      : loop_(site.loop()),
        process_(site.clock(), site.random(), site.disks(), site.transport()),
        rpc_(*process_.seams, site.loop().executor(), options_of(volume)) {}
  ~LocalMount() { loop_.run_until_done(rpc_.stop()); }

  Result<void> start() { return loop_.run_until_done(rpc_.start()); }
  Client& client() { return client_; }

 private:
  static RpcClientOptions options_of(const std::string& volume) {
    RpcClientOptions options;
    options.endpoints = {Endpoint::unix_socket(kSimDataSocket)};
    options.volume = volume;
    options.client_name = "a mount of " + volume;
    return options;
  }

  SimLoop& loop_;
  SimProcess process_;
  RpcClient rpc_;
  BorrowedStack stack_{loop_, rpc_};
  Client client_{stack_};
};

}  // namespace polder
