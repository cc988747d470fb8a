// SPDX-License-Identifier: GPL-3.0-or-later
// MemoryStream: the other side has sent these bytes and closed. For decoders that read from a connection.
#pragma once
#include <string>

#include "base/coro.h"
#include "base/transport.h"

namespace polder {

class MemoryStream final : public Stream {
 public:
  /// Each read gives at most `step_bytes` (0: as many as fit).
  MemoryStream(ConstBytes bytes, std::size_t step_bytes) : rest_(bytes), step_bytes_(step_bytes) {}

  Task<Result<std::size_t>> read_some(Bytes out) override {
    if (closed_) co_return Error(ECONNRESET);
    const auto limit = step_bytes_ == 0 ? out.size() : std::min(step_bytes_, out.size());
    const auto taken = rest_.first(std::min(limit, rest_.size()));
    if (!taken.empty()) std::memcpy(out.data(), taken.data(), taken.size());
    rest_ = rest_.subspan(taken.size());
    co_return taken.size();
  }
  Task<Result<void>> write(std::span<const ConstBytes>) override { co_return Result<void>(); }
  void close() override { closed_ = true; }
  const PeerIdentity& peer() const override { return peer_; }
  const std::string& protocol() const override { return protocol_; }

 private:
  ConstBytes rest_;
  std::size_t step_bytes_;
  bool closed_ = false;
  PeerIdentity peer_ = [] {
    PeerIdentity root_of_this_machine;
    root_of_this_machine.uid = 0;
    return root_of_this_machine;
  }();
  std::string protocol_;
};

}  // namespace polder
