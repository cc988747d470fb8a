// SPDX-License-Identifier: GPL-3.0-or-later
// HookLayer, the POSIX rules and the ACL format. The operations themselves: conformance/.
#include <fcntl.h>
#include <linux/fs.h>

#include "base/clock.h"
#include "base/coro.h"
#include "base/random.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/hook.h"
#include "core-volume/layer/op_kind.h"
#include "core-volume/layer/posix_rules.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {
namespace {

class Recorder : public Hook {
 public:
  Task<Result<void>> before(const OpCall& call) override {
    log.push_back(fmt::format("+{}{} {}", to_string(call.kind), call.is_change ? "!" : "", call.name));
    if (refuse != 0) co_return Error(refuse);
    co_return Result<void>();
  }
  Task<Result<void>> after(const OpCall& call, const Error* failure) override {
    log.push_back(fmt::format("-{} {}", to_string(call.kind), failure ? failure->code() : 0));
    if (replace != 0) co_return Error(replace);
    co_return Result<void>();
  }
  void left(const OpCall&) noexcept override { ++departures; }

  std::vector<std::string> log;
  int refuse = 0, replace = 0, departures = 0;
};

class HookStack : public LoopStack {
 public:
  FileOps& ops() override { return layer_; }
  std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();

 private:
  std::unique_ptr<Clock> clock_ = make_system_clock();
  HlcClock hlc_{*clock_};
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  MemoryLayer memory_{hlc_, *random_};
  HookLayer layer_{memory_, recorder};
};

INSTANTIATE_TEST_SUITE_P(Hook, Conformance, testing::Values(conformance_target<HookStack>("hook_memory")),
                         conformance_name);

TEST(HookTest, SeesEveryOperationAndItsOutcome) {
  HookStack stack;
  Client c(stack);
  Recorder& recorder = *stack.recorder;
  must(c.mkdir(Gfid::root(), "d"));
  EXPECT_EQ(code_of(c.lookup(Gfid::root(), "x")), ENOENT);
  const Gfid file = must(c.create(Gfid::root(), "f")).attr.gfid;
  must(c.open(file, O_RDONLY));
  must(c.open(file, O_RDWR | O_TRUNC));
  EXPECT_THAT(recorder.log,
              testing::ElementsAre("+mkdir! d", "-mkdir 0", "+lookup x", "-lookup 2", "+create! f",
                                   "-create 0", "+open ", "-open 0", "+open! ", "-open 0"));
  EXPECT_EQ(recorder.departures, 5);
}

TEST(HookTest, RefusesBeforeAndReplacesAfter) {
  HookStack stack;
  Client c(stack);
  stack.recorder->refuse = EROFS;
  EXPECT_EQ(code_of(c.mkdir(Gfid::root(), "d")), EROFS);
  EXPECT_EQ(stack.recorder->departures, 0);
  stack.recorder->refuse = 0;
  stack.recorder->replace = ETIMEDOUT;
  EXPECT_EQ(code_of(c.mkdir(Gfid::root(), "d")), ETIMEDOUT);
  stack.recorder->replace = 0;
  EXPECT_EQ(code_of(c.lookup(Gfid::root(), "d")), 0);
  EXPECT_EQ(stack.recorder->departures, 2);
}

TEST(OpKindTest, NamesAreUnique) {
  for (const OpInfo& info : kOpTable) EXPECT_EQ(parse_op_kind(info.name), info.kind);
  EXPECT_EQ(parse_op_kind("nonsense"), std::nullopt);
}

TEST(AclTest, FormatIsLinux) {
  // getfattr -e hex -n system.posix_acl_access of: setfacl -m u:1000:rw FILE (mode 0644)
  const std::string bytes(
      "\x02\x00\x00\x00"
      "\x01\x00\x06\x00\xff\xff\xff\xff"
      "\x02\x00\x06\x00\xe8\x03\x00\x00"
      "\x04\x00\x04\x00\xff\xff\xff\xff"
      "\x10\x00\x06\x00\xff\xff\xff\xff"
      "\x20\x00\x04\x00\xff\xff\xff\xff",
      44);
  const std::optional<Acl> acl = must(parse_acl(bytes));
  ASSERT_TRUE(acl);
  EXPECT_EQ(acl->mode_bits(), 0664u);
  EXPECT_FALSE(acl->equals_mode());
  EXPECT_EQ(build_acl(*acl), bytes);
}

TEST(AclTest, HostileBytes) {
  const std::string good = build_acl({{{AclTag::kUserObj, 7}, {AclTag::kGroupObj, 5}, {AclTag::kOther, 1}}});
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int flip = 1; flip < 256; flip <<= 1) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      const Result<std::optional<Acl>> acl = parse_acl(bad);
      if (acl && *acl) EXPECT_LE((*acl)->mode_bits(), 0777u);
    }
    EXPECT_EQ(parse_acl(std::string_view(good).substr(0, i)).has_value(), i == 0 || i == 4) << i;
  }
}

TEST(PosixRulesTest, CookieIsWrittenDown) {
  // Persisted by clients across restarts: these values must never change.
  EXPECT_EQ(entry_cookie("a"), entry_cookie(std::string("a")));
  EXPECT_EQ(entry_cookie(""), (0x2d06800538d394c2ull >> 2) + 3);
  EXPECT_NE(entry_cookie("a"), entry_cookie("b"));
}

TEST(PosixRulesTest, DamagedDefaultAclIsAnError) {
  const ParentFacts parent{.mode = S_IFDIR | 0755, .gid = 0, .default_acl = "garbage"};
  EXPECT_EQ(code_of(state_of_new_object({}, parent, {.mode = S_IFREG | 0600})), EIO);
}

TEST(PosixRulesTest, RenameOrderOfChecks) {
  RenameFacts facts;
  facts.source.gfid.bytes[0] = 1;
  facts.source.mode = S_IFDIR;
  facts.target = facts.source;
  facts.target->gfid.bytes[0] = 2;
  facts.target_empty = false;
  facts.target_above_source = true;
  EXPECT_EQ(code_of(check_rename(facts, RENAME_NOREPLACE)), EEXIST);
  EXPECT_EQ(code_of(check_rename(facts, RENAME_EXCHANGE)), EINVAL);
  EXPECT_EQ(code_of(check_rename(facts, 0)), ENOTEMPTY);
}

}  // namespace
}  // namespace polder
