// SPDX-License-Identifier: GPL-3.0-or-later
// Values to protobuf and back. Everything that comes back is checked: a decoder's error (EPROTO) means that
// the peer is broken or hostile, and its connection ends. Pure functions. Internal to rpc.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core-volume/layer/file_ops.h"
#include "core-volume/layer/invalidation.h"
#include "proto/wire.pb.h"

namespace polder {

void put(wire::Gfid* out, Gfid gfid);
Gfid gfid_from(const wire::Gfid& in);

void put(wire::Attr* out, const FileAttr& attr);
Result<FileAttr> attr_from(const wire::Attr& in);

void put(wire::NewObject* out, const NewObject& object);
NewObject object_from(const wire::NewObject& in);

void put(wire::Setattr* out, const SetAttr& change);
Result<SetAttr> change_from(const wire::Setattr& in);

void put(wire::Lock* out, const FileLock& lock);
Result<FileLock> lock_from(const wire::Lock& in);

void put(wire::Space* out, const VolumeSpace& space);
VolumeSpace space_from(const wire::Space& in);

void put(wire::Notify::Change* out, const Invalidation& change);
Result<Invalidation> invalidation_from(const wire::Notify::Change& in);

/// Stops before `bytes_max` (never between equal cookies) and then leaves `end` false.
Buffer encode_page(const DirectoryPage& page, std::size_t bytes_max);
Result<DirectoryPage> decode_page(ConstBytes bytes);

Result<Buffer> encode_names(const std::vector<std::string>& names);  // E2BIG past the limit
Result<std::vector<std::string>> decode_names(ConstBytes bytes);

/// Pieces of a payload: the description of the records, then their data, uncopied. `description_bytes` goes
/// into the request.
std::vector<Buffer> encode_records(std::span<const Record> records, std::uint32_t& description_bytes);
/// About what a record adds to such a payload; to cut a long replay into several requests.
std::size_t encoded_bytes(const Record& record);
/// Data are slices of `payload`. Whether a record makes sense is check_record()'s business, below.
Result<std::vector<Record>> decode_records(const Buffer& payload, std::uint32_t description_bytes);

/// Every bound that a request must keep: names, keys, flags that fit, a payload only where one belongs.
Result<void> check_request(const wire::Request& request, std::size_t payload_bytes);
/// Of what must not happen twice; these carry a sequence.
bool needs_sequence(wire::Request::OpCase op);
/// Whether a read-only volume refuses it.
bool is_change(const wire::Request& request);

/// The error of a reply; call only when reply.error() != 0.
Error error_from(const wire::Reply& reply);
void put(wire::Reply* out, const Error& error);

}  // namespace polder
