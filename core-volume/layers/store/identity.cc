// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/identity.h"

#include <charconv>
#include <map>

#include "core-volume/layers/store/layout.h"

namespace polder {
namespace {

constexpr std::string_view kHeader = "polder brick format 1";
constexpr std::size_t kTextLimitBytes = 64 * 1024;

Result<std::map<std::string, std::string, std::less<>>> parse_lines(std::string_view text) {
  std::map<std::string, std::string, std::less<>> fields;
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    auto space = line.find(' ');
    if (space == line.npos) return Error(EUCLEAN).with("line \"{}\" has no value", line);
    fields.emplace(line.substr(0, space), line.substr(space + 1));
  }
  return fields;
}

}  // namespace

std::string format_identity(const BrickIdentity& identity) {
  return fmt::format("{}\nvolume {}\nbrick {}\nset {}\nlineage {}\n", kHeader, identity.volume.hex(),
                     identity.brick.hex(), identity.set, identity.lineage.hex());
}

Result<BrickIdentity> parse_identity(const std::string& text) {
  auto end = std::min(text.find('\n'), text.size());
  if (text.substr(0, end) != kHeader)
    return Error(EUCLEAN).with("first line is \"{}\", expected \"{}\"", text.substr(0, end), kHeader);
  TRY(auto fields, parse_lines(std::string_view(text).substr(end)));
  BrickIdentity identity;
  for (auto [key, gfid] :
       {std::pair{"volume", &identity.volume}, {"brick", &identity.brick}, {"lineage", &identity.lineage}}) {
    auto parsed = Gfid::parse(fields[key]);
    if (!parsed) return Error(EUCLEAN).with("{} \"{}\" is not 32 hex digits", key, fields[key]);
    *gfid = *parsed;
  }
  const auto& set = fields["set"];
  auto parsed = std::from_chars(set.data(), set.data() + set.size(), identity.set);
  if (set.empty() || parsed.ec != std::errc() || parsed.ptr != set.data() + set.size())
    return Error(EUCLEAN).with("set \"{}\" is not a number", set);
  return identity;
}

Result<void> refuse_nested(Disk& disk, const std::string& path) {
  for (auto slash = path.rfind('/'); slash != path.npos && slash > 0; slash = path.rfind('/', slash - 1)) {
    auto above = path.substr(0, slash);
    auto text = disk.get_xattr_at(Disk::kNoDir, above, layout::kBrickKey);
    if (!text) continue;
    auto identity = parse_identity(*text);
    return Error(EINVAL).with(
        "directory {} lies inside {}, which is brick {} of volume {}; choose a directory outside of it", path,
        above, identity ? identity->brick.hex() : "(unreadable)",
        identity ? identity->volume.hex() : "(unreadable)");
  }
  return {};
}

Result<BrickIdentity> read_identity(Disk& disk, int root, const std::string& path) {
  auto attribute = disk.get_xattr(root, layout::kBrickKey);
  auto file = read_text_file(disk, root, layout::kIdentity);
  if (file.failed_with(ENOENT) && attribute.failed_with(ENODATA))
    return Error(ENOENT).with("{} is not a brick (it has no {}); is its file system mounted?", path,
                              layout::kIdentity);
  if (file.failed_with(ENOENT))
    return Error(EUCLEAN).with("{} was a brick, but its {} is gone", path, layout::kIdentity);
  if (!file) return std::move(file).error().with("read {}/{}", path, layout::kIdentity);
  auto identity = parse_identity(*file);
  if (!identity) return std::move(identity).error().with("{}/{}", path, layout::kIdentity);
  if (attribute.failed_with(ENODATA))
    return Error(EINVAL).with(
        "{} holds a copy of the state of brick {} of volume {}, or one whose creation did not end", path,
        identity->brick.hex(), identity->volume.hex());
  if (!attribute) return std::move(attribute).error().with("read {} of {}", layout::kBrickKey, path);
  if (*attribute != *file)
    return Error(EUCLEAN).with("{}: attribute {} and file {} name different bricks", path, layout::kBrickKey,
                               layout::kIdentity);
  return identity;
}

Result<void> check_identity(const std::string& path, const BrickIdentity& found, const Gfid& volume,
                            const Gfid& brick) {
  bool same = (volume.is_nil() || volume == found.volume) && (brick.is_nil() || brick == found.brick);
  if (same) return {};
  return Error(EINVAL).with("{} is brick {} of volume {}, not brick {} of volume {}", path, found.brick.hex(),
                            found.volume.hex(), brick.is_nil() ? found.brick.hex() : brick.hex(),
                            volume.is_nil() ? found.volume.hex() : volume.hex());
}

Result<std::string> read_text_file(Disk& disk, int dir, const std::string& path) {
  TRY(auto file, disk.open(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  std::string text(kTextLimitBytes + 1, '\0');
  TRY(auto size, disk.pread(file.fd(), std::as_writable_bytes(std::span(text)), 0));
  if (size > kTextLimitBytes) return Error(EFBIG);
  text.resize(size);
  return text;
}

}  // namespace polder
