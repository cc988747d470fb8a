// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/protocol/delta.h"

#include <librsync.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

namespace polder::georep {

namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;

// A signature: magic, length of a block and of its strong sum, big-endian; then weak and strong sum of each
// block.
constexpr std::size_t kSignatureHeader_bytes = 12, kWeakSum_bytes = 4, kStrongSumMax_bytes = 32;
/// librsync keeps that much of the content in memory. Below the least, a delta may be larger than the
/// content.
constexpr std::uint32_t kBlockMin_bytes = 256, kBlockMax_bytes = 1u << 20;
/// Blocks that differ and have the same weak sum are compared one after another at every byte of the content.
constexpr std::size_t kSameWeakSumMax = 64;

struct FreeJob {
  void operator()(rs_job_t* job) const { rs_job_free(job); }
};
using Job = std::unique_ptr<rs_job_t, FreeJob>;
struct FreeSignature {
  void operator()(rs_signature_t* signature) const { rs_free_sumset(signature); }
};

/// What it would print on standard error is in the errors that it returns, and those have context.
[[maybe_unused]] const bool librsync_is_silent = (rs_trace_to(nullptr), true);

Error librsync_error(std::string_view what, rs_result result) {
  return Error(EPROTO).with("librsync {}: {}", what, rs_strerror(result));
}

std::uint32_t load_be32(const std::byte* at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return __builtin_bswap32(value);
}

/// The longest run of different sums with the same weak sum.
std::size_t longest_chain(ConstBytes sums, std::size_t sum_bytes) {
  std::vector<const std::byte*> order;
  for (std::size_t at = 0; at + sum_bytes <= sums.size(); at += sum_bytes) order.push_back(&sums[at]);
  std::ranges::sort(order, [=](auto* a, auto* b) { return std::memcmp(a, b, sum_bytes) < 0; });
  std::size_t chain = 1, longest = order.empty() ? 0 : 1;
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (std::memcmp(order[i - 1], order[i], sum_bytes) == 0) continue;
    chain = std::memcmp(order[i - 1], order[i], kWeakSum_bytes) == 0 ? chain + 1 : 1;
    longest = std::max(longest, chain);
  }
  return longest;
}

/// librsync believes what a signature says of itself.
Result<void> check_signature(ConstBytes signature) {
  if (signature.size() < kSignatureHeader_bytes) return Error(EPROTO).with("signature is cut short");
  const auto magic = load_be32(&signature[0]), block_bytes = load_be32(&signature[4]),
             strong_bytes = load_be32(&signature[8]);
  if (magic != RS_RK_BLAKE2_SIG_MAGIC) return Error(EPROTO).with("signature of another kind ({:08x})", magic);
  if (block_bytes < kBlockMin_bytes || block_bytes > kBlockMax_bytes || strong_bytes == 0 ||
      strong_bytes > kStrongSumMax_bytes)
    return Error(EPROTO).with("signature with blocks of {} bytes and sums of {}", block_bytes, strong_bytes);
  const auto chain = longest_chain(signature.subspan(kSignatureHeader_bytes), kWeakSum_bytes + strong_bytes);
  if (chain > kSameWeakSumMax) return Error(EPROTO).with("signature with {} blocks of one weak sum", chain);
  return {};
}

/// Feeds `in` to the job and its output to `out`, chunk by chunk, until it is done.
Result<void> run_job(std::string_view what, rs_job_t* job, const ReadAt& in, const Sink& out) {
  std::vector<std::byte> input(kChunkBytes);
  std::vector<std::byte> output(kChunkBytes);
  std::uint64_t offset = 0;
  rs_buffers_t buffers{};
  while (true) {
    if (buffers.avail_in == 0 && !buffers.eof_in) {
      TRY(auto got, in(input, offset));
      offset += got;
      buffers.next_in = reinterpret_cast<char*>(input.data());
      buffers.avail_in = got;
      buffers.eof_in = got < input.size();
    }
    buffers.next_out = reinterpret_cast<char*>(output.data());
    buffers.avail_out = output.size();
    const rs_result result = rs_job_iter(job, &buffers);
    if (result != RS_DONE && result != RS_BLOCKED) return librsync_error(what, result);
    const std::size_t produced = output.size() - buffers.avail_out;
    if (produced > 0) {
      TRY(out(ConstBytes(output).first(produced)));
    }
    if (result == RS_DONE) return {};
    // Input that the job has not taken yet must stay: move it to the front and fill up behind it.
    if (buffers.avail_in > 0 && !buffers.eof_in) {
      std::memmove(input.data(), buffers.next_in, buffers.avail_in);
      TRY(auto got, in(Bytes(input).subspan(buffers.avail_in), offset));
      offset += got;
      buffers.eof_in = got < input.size() - buffers.avail_in;
      buffers.next_in = reinterpret_cast<char*>(input.data());
      buffers.avail_in += got;
    }
  }
}

struct PatchBasis {
  const ReadAt& read;
  Result<void> failure{};
};

rs_result read_basis(void* opaque, rs_long_t position, size_t* length, void** buffer) {
  auto& basis = *static_cast<PatchBasis*>(opaque);
  auto got = basis.read({static_cast<std::byte*>(*buffer), *length}, static_cast<std::uint64_t>(position));
  if (!got) {
    basis.failure = std::move(got.error());
    return RS_IO_ERROR;
  }
  *length = *got;
  return *got == 0 ? RS_INPUT_ENDED : RS_DONE;
}

}  // namespace

Result<std::string> make_signature(const ReadAt& basis, std::uint64_t basis_bytes) {
  rs_magic_number magic = RS_RK_BLAKE2_SIG_MAGIC;
  size_t block_bytes = 0;
  size_t strong_bytes = 0;
  const auto result = rs_sig_args(static_cast<rs_long_t>(basis_bytes), &magic, &block_bytes, &strong_bytes);
  if (result != RS_DONE) return librsync_error("signature", result);
  Job job(rs_sig_begin(block_bytes, strong_bytes, magic));
  std::string signature;
  TRY(run_job("signature", job.get(), basis, [&](ConstBytes bytes) -> Result<void> {
    signature += as_text(bytes);
    return {};
  }));
  return signature;
}

Result<void> make_delta(ConstBytes signature, const ReadAt& content, const Sink& delta) {
  TRY(check_signature(signature));
  rs_signature_t* raw = nullptr;
  {
    Job load(rs_loadsig_begin(&raw));
    ReadAt read = [&](Bytes out, std::uint64_t offset) -> Result<std::size_t> {
      auto rest = signature.subspan(std::min<std::size_t>(offset, signature.size()));
      const std::size_t count = std::min(out.size(), rest.size());
      std::memcpy(out.data(), rest.data(), count);
      return count;
    };
    auto loaded = run_job("load signature", load.get(), read, [](ConstBytes) -> Result<void> { return {}; });
    if (!loaded) {
      if (raw) rs_free_sumset(raw);
      return loaded;
    }
  }
  std::unique_ptr<rs_signature_t, FreeSignature> sums(raw);
  const auto result = rs_build_hash_table(sums.get());
  if (result != RS_DONE) return librsync_error("hash table", result);
  Job job(rs_delta_begin(sums.get()));
  return run_job("delta", job.get(), content, delta);
}

Result<void> apply_delta(const ReadAt& basis, const ReadAt& delta, const Sink& content) {
  PatchBasis from{basis};
  Job job(rs_patch_begin(read_basis, &from));
  auto done = run_job("patch", job.get(), delta, content);
  if (!from.failure) return from.failure;
  return done;
}

ContentHash::ContentHash() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_));
}
ContentHash::~ContentHash() {
  XXH3_freeState(static_cast<XXH3_state_t*>(state_));
}
void ContentHash::update(ConstBytes bytes) {
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_), bytes.data(), bytes.size());
}
std::string ContentHash::digest() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(static_cast<const XXH3_state_t*>(state_)));
  return {reinterpret_cast<const char*>(canonical.digest), sizeof canonical.digest};
}

}  // namespace polder::georep
