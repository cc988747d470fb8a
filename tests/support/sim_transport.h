// SPDX-License-Identifier: GPL-3.0-or-later
// SimNetwork: the network of a simulated world; each node gets a Transport from it. Streams behave as TCP
// does: ordered bytes, delayed by a seeded random time, torn at random places, stopped by partitions, lost by
// resets. Connections overtake one another. Certificates are checked as a handshake would, without the
// cryptography of one. Loop thread only.
//
// Nothing arrives twice within TCP. What an application can meet is a request whose reply was lost with its
// connection, and which is sent again on a new one: block() the replies, and lose_blocked() them when the
// request was executed.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/transport.h"
#include "tests/support/sim_clock.h"

namespace polder {

class Trace;

class SimNetwork {
 public:
  /// A connection whose path is blocked for so long breaks, as keepalive and TCP_USER_TIMEOUT do it.
  static constexpr nanoseconds kPatience = std::chrono::seconds(30);
  /// Bytes under way or unread in one direction before the writer waits.
  static constexpr std::size_t kWindow_bytes = 256 << 10;

  /// What arrives goes into `trace`, if that is not null; it outlives all that uses the network.
  SimNetwork(SimClock& clock, std::uint64_t seed, Trace* trace = nullptr);
  ~SimNetwork();

  /// The transport of the processes on `host`. Unix sockets reach only the same host, without delay, with
  /// uid 0 on both sides. Outlived by nothing: the network's state lives as long as anybody uses it.
  std::unique_ptr<Transport> transport(const std::string& host);

  /// One-way delay of each piece sent from now on.
  void set_delay(nanoseconds least, nanoseconds most);
  /// Both directions between the two carry so many bytes per second, each for all connections together; 0:
  /// without limit. What waits for its turn keeps it, also after a change.
  void set_speed(const std::string& a, const std::string& b, std::uint64_t bytes_per_s);
  /// One of so many pieces is lost between the two and sent again by TCP, until it arrives: after kResend,
  /// then after twice the time. All that follows in its connection waits for it. 0: none.
  void set_loss(const std::string& a, const std::string& b, std::uint64_t one_in);
  static constexpr nanoseconds kResend = std::chrono::milliseconds(200);
  /// Nothing from `from` reaches `to`: bytes wait, and flow again if unblock() comes within kPatience.
  void block(const std::string& from, const std::string& to);
  void unblock(const std::string& from, const std::string& to);
  /// Both directions between the two.
  void partition(const std::string& a, const std::string& b);
  void heal(const std::string& a, const std::string& b);
  /// Breaks every connection between the two; what was under way is lost.
  void reset(const std::string& a, const std::string& b);
  /// Breaks the connection that delivers the n-th byte from now (1 = the next one) from `from` to `to`, after
  /// that byte: in the middle of a frame, if n says so. Once; 0: not at all.
  void reset_after(const std::string& from, const std::string& to, std::uint64_t bytes);
  /// Whether reset_after() still waits for its byte.
  bool reset_pending(const std::string& from, const std::string& to) const;
  /// What block() holds back never arrives: connections between the two break, and the path is open again.
  void lose_blocked(const std::string& from, const std::string& to);
  /// The host's kernel closes everything its processes had: their listeners end, their peers see ECONNRESET.
  void kill_processes(const std::string& host);
  /// The n-th call from now (1 = the next one) fails with `code`, and its connection breaks. A connect and a
  /// write do nothing then; a read loses what it would have returned; an accept the connection that it would
  /// have returned, and waits for another one, as after a failed handshake.
  void fail_nth(std::uint64_t n, int code);
  /// True once the call named by fail_nth was made.
  bool fault_fired() const;
  /// Calls so far, of all hosts: for loops over fail_nth. Reads and accepts count when they return something.
  std::uint64_t calls() const;
  /// Called at each of them with what it is: "connect from a to b". Must not use the network.
  void on_call(std::function<void(const std::string&)> listener);
  /// Bytes delivered so far from one host to another: what a link would have carried.
  std::uint64_t carried_bytes(const std::string& from, const std::string& to) const;

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace polder
