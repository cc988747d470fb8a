// SPDX-License-Identifier: GPL-3.0-or-later
// A network that leads nowhere, for what talks to nobody.
#pragma once
#include "base/coro.h"
#include "base/transport.h"

namespace polder {

class NoTransport final : public Transport {
 public:
  Task<Result<std::unique_ptr<Stream>>> connect(const Endpoint&, std::string,
                                                std::shared_ptr<const TlsIdentity>) override {
    co_return Error(ENETUNREACH);
  }
  Task<Result<std::unique_ptr<Listener>>> listen(const Endpoint&, std::vector<std::string>,
                                                 std::shared_ptr<const TlsIdentity>) override {
    co_return Error(ENETUNREACH);
  }
};

}  // namespace polder
