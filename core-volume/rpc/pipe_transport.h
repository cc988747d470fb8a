// SPDX-License-Identifier: GPL-3.0-or-later
// PipeTransport: connections within one loop, for tests: every call of it can be made to fail, and everything
// can be cut or kept from connecting.
#pragma once
#include <map>
#include <memory>
#include <set>

#include "base/transport.h"

namespace polder {

class PipeTransport : public Transport {
 public:
  PipeTransport();
  ~PipeTransport() override;

  Task<Result<std::unique_ptr<Stream>>> connect(const Endpoint& endpoint, std::string protocol,
                                                std::shared_ptr<const TlsIdentity> identity) override;
  Task<Result<std::unique_ptr<Listener>>> listen(const Endpoint& endpoint, std::vector<std::string> protocols,
                                                 std::shared_ptr<const TlsIdentity> identity) override;

  /// Call number `n` from now on (connect, read, write; from 1) breaks its connection. A write has delivered
  /// so much of its bytes by then. 0: none.
  void fail_call(unsigned n, unsigned delivered_percent = 50);
  bool failed() const;
  unsigned calls() const;
  /// Both ends of every connection see a reset.
  void break_all();
  /// ECONNREFUSED from now on.
  void refuse_connections(bool refuse);
  /// Connections stay, but nothing arrives any more.
  void freeze(bool frozen);
  /// What servers see of who connects next.
  void set_peer(PeerIdentity peer);

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace polder
