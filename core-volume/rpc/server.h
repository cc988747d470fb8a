// SPDX-License-Identifier: GPL-3.0-or-later
// RpcServer: gives any FileOps to clients over connections. Keeps the sessions: who they are, what was
// already done for them (the reply table), and when they are over. Loop thread only.
//
// The owner accepts connections and decides who may do what; the layers below get every operation with the
// session's number and sequence.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/gfid.h"
#include "base/seams.h"
#include "base/transport.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layer/invalidation.h"
#include "core-volume/layer/leases.h"
#include "core-volume/rpc/session_store.h"

namespace polder {

/// What a peer is to a volume. Only kGeorep and kNode may replay records and change a read-only volume.
enum class RpcRole { kClient, kGeorep, kNode, kAdmin };

/// One volume (its brick stack). `ops` and `invalidations` outlive remove_volume().
struct ServedVolume {
  std::string name;
  FileOps* ops = nullptr;
  InvalidationSource* invalidations = nullptr;  // may be null; the server is its one listener
  LeaseKeeper* leases = nullptr;                // may be null: no leases; outlives remove_volume()
  /// Both may be empty. In add_volume(): sessions of an earlier process may hold something, and have not
  /// claimed it again yet.
  std::function<void()> await_clients = {};
  /// All of them have, or have ended: in add_volume() where there are none.
  std::function<void()> clients_are_back = {};
  bool read_only = false;  // EROFS for changes; the owner may turn it at any time
  Gfid id;
  Gfid lineage;
  std::uint64_t incarnation = 1;  // another one (restore of a snapshot): handles of before are ESTALE
  std::uint64_t losses = 0;       // another one: what was not synced before may be lost (a power loss)
  std::chrono::nanoseconds session_timeout{0};  // 0: the server's; may be changed at any time
};

struct RpcServerOptions {
  /// Who `peer` is to `volume`; EACCES with a reason for the person who tries to mount.
  std::function<Result<RpcRole>(const PeerIdentity& peer, const std::string& volume)> role;
  /// Why `volume` is not served: ENOENT: there is no such volume; anything else: it exists, but is not
  /// started.
  std::function<Error(const std::string& volume)> why_absent;
  std::chrono::nanoseconds session_timeout = std::chrono::seconds(60);  // without a connection
  std::chrono::nanoseconds hello_timeout = std::chrono::seconds(10);
  std::chrono::nanoseconds silence_timeout = std::chrono::seconds(60);  // clients ping more often
  std::size_t strangers_max = 256;                                      // connections before their Hello
  std::size_t session_bytes_max = 64u << 20;  // held for one session: requests, and replies not yet sent
};

/// For `polder volume status VOL clients`, metrics and statedumps.
struct RpcClientInfo {
  std::uint32_t session = 0;
  std::string client_name;
  std::string client_version;  // empty: it has not said; not seen since the daemon started
  std::string owner;           // uid or certificate
  std::string address;         // of its connection: "192.0.2.7:40123", "pid 1234"; empty: none
  RpcRole role = RpcRole::kClient;
  bool connected = false;
  std::uint64_t connected_ns = 0;  // wall time of the last connection; 0: none since the daemon started
  std::size_t requests = 0;        // being served
  std::uint64_t requests_total = 0;
  std::uint64_t bytes_read = 0;     // payloads of replies: data, names
  std::uint64_t bytes_written = 0;  // payloads of requests
  std::size_t held_bytes = 0;       // requests being served, with room for their replies
  std::size_t queued_bytes = 0;     // replies that wait for the socket
  std::size_t replies_kept = 0;     // for retries
  std::size_t notices_waiting = 0;  // invalidations not yet sent
};
std::string_view to_string(RpcRole role);  // "client", "geo-replication", "node", "admin"

/// All connections of a server.
struct RpcServerInfo {
  std::size_t connections = 0;
  std::size_t strangers = 0;  // have not said Hello yet
};

class RpcServer {
 public:
  /// `store` and `seams` outlive the server.
  RpcServer(Seams& seams, const boost::asio::any_io_executor& executor, SessionStore& store,
            RpcServerOptions options);
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;

  /// Sessions of an earlier process get session_timeout to come back; nobody else's new lock is granted
  /// before they have, or are over.
  Task<Result<void>> add_volume(std::shared_ptr<ServedVolume> volume);
  /// Closes the connections and returns when nothing runs in `ops` any more. Sessions stay in the store.
  Task<void> remove_volume(const std::string& name);

  /// Takes over an accepted connection with protocol kRpcProtocol.
  void serve(std::unique_ptr<Stream> stream);
  /// Accepts from a listener of our protocol only, until it is closed.
  Task<void> serve_all(Listener& listener);

  std::vector<RpcClientInfo> clients(const std::string& volume) const;
  RpcServerInfo info() const;
  /// Ends sessions that are not connected now, without waiting for their time-out. Tests and `volume stop
  /// force`.
  Task<void> expire_now(const std::string& volume);
  /// Closes everything; returns when nothing runs. Call before destruction.
  Task<void> stop();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace polder
