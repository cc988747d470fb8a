// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/journal/segment_source.h"

#include <zstd.h>

#include <algorithm>
#include <vector>

#include "changelog/journal/segment_format.h"

namespace polder {

namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;
constexpr int kCompressionLevel = 3;
/// What a reader sets aside for a compressed segment, whatever its header asks for (zstd's own limit is 128
/// MiB). Our level takes 2 MiB.
constexpr int kWindowMax_log2 = 23;

class PlainSource final : public SegmentSource {
 public:
  explicit PlainSource(DiskFile file) : file_(std::move(file)) {}

  Result<std::size_t> read(Bytes out) override {
    TRY(auto size, file_.disk().pread(file_.fd(), out, at_));
    at_ += size;
    return size;
  }
  Result<void> skip_to(std::uint64_t byte) override {
    at_ = byte;
    return {};
  }

 private:
  DiskFile file_;
  std::uint64_t at_ = 0;
};

class ZstdSource final : public SegmentSource {
 public:
  explicit ZstdSource(DiskFile file) : file_(std::move(file)), input_(kChunkBytes) {
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kWindowMax_log2);
  }

  Result<std::size_t> read(Bytes out) override {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos < output.size) {
      if (feed_.pos == feed_.size) {
        TRY(bool more, refill());
        if (!more) {
          if (inside_frame_) return Error(EUCLEAN).with("the compressed file ends early");
          break;
        }
      }
      auto left = ZSTD_decompressStream(context_.get(), &output, &feed_);
      if (ZSTD_isError(left))
        return Error(EUCLEAN).with("compressed data near byte {}: {}", at_ - feed_.size + feed_.pos,
                                   ZSTD_getErrorName(left));
      inside_frame_ = left != 0;
    }
    return output.pos;
  }
  Result<void> skip_to(std::uint64_t) override { return Error(EINVAL); }

 private:
  Result<bool> refill() {
    TRY(auto size, file_.disk().pread(file_.fd(), std::as_writable_bytes(std::span(input_)), at_));
    at_ += size;
    feed_ = {input_.data(), size, 0};
    return size > 0;
  }

  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  DiskFile file_;
  std::vector<char> input_;
  ZSTD_inBuffer feed_{nullptr, 0, 0};
  std::uint64_t at_ = 0;
  bool inside_frame_ = true;  // an empty file is not a frame
  std::unique_ptr<ZSTD_DCtx, Free> context_{ZSTD_createDCtx()};
};

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

/// Writes what `mode` makes of `input`; returns the bytes written.
Result<std::uint64_t> compress_chunk(ZSTD_CCtx* context, ZSTD_inBuffer input, ZSTD_EndDirective mode,
                                     const DiskFile& to, std::uint64_t at) {
  std::vector<std::byte> out(ZSTD_CStreamOutSize());
  std::uint64_t written = 0;
  std::size_t left = 0;
  do {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    left = ZSTD_compressStream2(context, &output, &input, mode);
    if (ZSTD_isError(left)) return Error(EIO).with("zstd: {}", ZSTD_getErrorName(left));
    TRY(to.disk().pwrite(to.fd(), ConstBytes(out).first(output.pos), at + written));
    written += output.pos;
  } while (mode == ZSTD_e_end ? left > 0 : input.pos < input.size);
  return written;
}

}  // namespace

std::unique_ptr<SegmentSource> plain_source(DiskFile file) {
  return std::make_unique<PlainSource>(std::move(file));
}

std::unique_ptr<SegmentSource> zstd_source(DiskFile file) {
  return std::make_unique<ZstdSource>(std::move(file));
}

Result<std::uint64_t> compress_file(const DiskFile& from, std::uint64_t from_bytes, const DiskFile& to,
                                    ContentHash& hash) {
  std::unique_ptr<ZSTD_CCtx, FreeCompressor> context(ZSTD_createCCtx());
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kCompressionLevel);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setPledgedSrcSize(context.get(), from_bytes);
  std::vector<std::byte> chunk(kChunkBytes);
  std::uint64_t read = 0, written = 0;
  while (read < from_bytes) {
    auto wanted = std::min<std::uint64_t>(chunk.size(), from_bytes - read);
    TRY(auto size, from.disk().pread(from.fd(), Bytes(chunk).first(wanted), read));
    if (size != wanted) return Error(EUCLEAN).with("the file ends at byte {}", read + size);
    read += size;
    hash.update(ConstBytes(chunk).first(size));
    auto mode = read == from_bytes ? ZSTD_e_end : ZSTD_e_continue;
    TRY(auto more, compress_chunk(context.get(), {chunk.data(), size, 0}, mode, to, written));
    written += more;
  }
  return written;
}

}  // namespace polder
