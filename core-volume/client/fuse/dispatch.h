// SPDX-License-Identifier: GPL-3.0-or-later
// From libfuse's callbacks to the bridge's coroutines.
#pragma once
#include <memory>

#include "core-volume/client/fuse/bridge.h"
#include "core-volume/client/fuse/interrupts.h"

namespace polder {

/// What a callback reaches: libfuse's user data.
struct Dispatch {
  Bridge& bridge;
  TaskGroup& tasks;
  Interrupts& interrupts;
  Askers& askers;
  const boost::asio::any_io_executor& executor;
  Buffer& received;            // the message that is being dispatched
  bool received_kept = false;  // its bytes went on to the volume: do not receive into it again
  bool starting = false;       // that is INIT
  bool refusing = false;       // the mount ends: answer ENOTCONN
  std::uint64_t requests = 0;
};

/// Payloads of at least this size are passed on in the message they came in, smaller ones are copied out.
constexpr std::size_t kCopyMax_bytes = 32 << 10;
/// The largest read or write, and a message's header of at most one page.
constexpr std::size_t kTransferMax_bytes = 1 << 20;

const fuse_lowlevel_ops& fuse_operations();

}  // namespace polder
