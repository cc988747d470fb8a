// SPDX-License-Identifier: GPL-3.0-or-later
// The grammar: what each command line asks of the daemon, and what comes out for people and for scripts.
#include "tools/polder/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tools/polder/table.h"
#include "tools/polder/volume_words.h"

namespace polder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct CliTest : testing::Test {
  std::ostringstream out, err;
  std::vector<std::string> calls;
  std::map<std::string, Result<json::value>> answers;

  int run(const std::vector<std::string>& words) {
    out.str("");
    err.str("");
    calls.clear();
    auto api = [this](const std::string& method, const std::string& path, const json::object& body,
                      const std::function<void(const json::value&)>&) -> Result<json::value> {
      auto call = method + " " + path;
      calls.push_back(body.empty() ? call : call + " " + json::text(body));
      auto found = answers.find(call);
      if (found == answers.end()) return Error(ENOSYS).with("the test has no answer for {}", call);
      return found->second;
    };
    return Cli(out, err, api).run(words);
  }
};

TEST_F(CliTest, WrongUsageIsTwo) {
  EXPECT_EQ(run({}), kUsage);
  EXPECT_EQ(run({"nonsense"}), kUsage);
  EXPECT_EQ(run({"volume"}), kUsage);
  EXPECT_EQ(run({"volume", "create", "data"}), kUsage);
  EXPECT_EQ(run({"volume", "status", "data", "everything"}), kUsage);
  EXPECT_EQ(run({"volume", "set", "data", "key"}), kUsage);
  EXPECT_EQ(run({"--mode", "whatever", "volume", "list"}), kUsage);
  EXPECT_THAT(calls, testing::IsEmpty());
}

TEST_F(CliTest, HelpIsNoErrorAndHasAnExample) {
  EXPECT_EQ(run({"--help"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("volume"));
  EXPECT_EQ(run({"volume", "create", "--help"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("Example: polder volume create data"));
  EXPECT_EQ(run({"--version"}), kDone);
}

TEST_F(CliTest, CreateTakesBricksAndForce) {
  answers.insert_or_assign("POST /v1/volumes",
                           json::value(json::object{{"notes", json::array{"mind this"}}}));
  EXPECT_EQ(run({"volume", "create", "data", "alpha:/bricks/data", "force"}), kDone);
  EXPECT_THAT(
      calls, ElementsAre(R"(POST /v1/volumes {"name":"data","bricks":["alpha:/bricks/data"],"force":true})"));
  EXPECT_THAT(out.str(), HasSubstr("note: mind this"));
  EXPECT_THAT(out.str(), HasSubstr("next: polder volume start data"));
}

TEST_F(CliTest, RefusalsAreOneAndSayWhy) {
  answers.insert_or_assign("POST /v1/volumes/data/start", Error(ENOENT).with("there is no volume 'data'"));
  EXPECT_EQ(run({"volume", "start", "data"}), kFailed);
  EXPECT_EQ(err.str(), "polder: there is no volume 'data'\n");
  EXPECT_EQ(run({"volume", "start", "data", "--json"}), kFailed);
  EXPECT_THAT(err.str(), HasSubstr(R"({"error":)"));
  EXPECT_EQ(run({"volume", "start", "../x"}), kFailed);
  EXPECT_THAT(calls, testing::IsEmpty());
}

TEST_F(CliTest, DeletingNeedsAYes) {
  json::object volume{{"name", "data"}, {"bricks", json::array{json::object{{"node", "a"}, {"path", "/b"}}}}};
  answers.insert_or_assign("GET /v1/volumes/data", json::value(volume));
  answers.insert_or_assign("DELETE /v1/volumes/data", json::value(volume));
  EXPECT_EQ(run({"volume", "delete", "data", "--mode=script"}), kFailed);
  EXPECT_THAT(err.str(), HasSubstr("add --yes"));
  EXPECT_THAT(calls, ElementsAre("GET /v1/volumes/data"));
  EXPECT_EQ(run({"volume", "delete", "data", "--dry-run"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("keeps the data"));
  EXPECT_THAT(calls, ElementsAre("GET /v1/volumes/data"));
  EXPECT_EQ(run({"--yes", "volume", "delete", "data"}), kDone);
  EXPECT_THAT(calls, ElementsAre("GET /v1/volumes/data", "DELETE /v1/volumes/data"));
}

TEST_F(CliTest, DegradedIsThree) {
  json::object status{{"name", "data"},
                      {"state", "Started"},
                      {"running", false},
                      {"read_only", false},
                      {"role", "plain"},
                      {"clients", json::array{}},
                      {"failure", "the disk is gone"},
                      {"brick_status", json::array{json::object{{"brick", "a:/b"}, {"online", false}}}}};
  answers.insert_or_assign("GET /v1/volumes/data/status", json::value(status));
  EXPECT_EQ(run({"volume", "status", "data"}), kDegraded);
  EXPECT_THAT(out.str(), HasSubstr("degraded: the disk is gone"));
  EXPECT_EQ(run({"volume", "status", "data", "clients"}), kDegraded);
  EXPECT_EQ(run({"--json", "volume", "status", "data"}), kDegraded);
  EXPECT_EQ(json::parse(out.str()).value(), json::value(status));
}

TEST_F(CliTest, OptionsAreSetGotAndReset) {
  json::object changed{{"option", "a.b"}, {"value", "8GiB"}, {"restart_needed", true}};
  answers.insert_or_assign("POST /v1/volumes/data/options", json::value(changed));
  answers.insert_or_assign("DELETE /v1/volumes/data/options", json::value(changed));
  answers.insert_or_assign("GET /v1/volume-options", json::value(json::array{}));
  EXPECT_EQ(run({"volume", "set", "data", "a.b", "8GiB"}), kDone);
  EXPECT_THAT(calls, ElementsAre(R"(POST /v1/volumes/data/options {"key":"a.b","value":"8GiB"})"));
  EXPECT_THAT(out.str(), HasSubstr("next start"));
  EXPECT_EQ(run({"volume", "reset", "data", "a.b"}), kDone);
  EXPECT_THAT(calls, ElementsAre(R"(DELETE /v1/volumes/data/options {"key":"a.b"})"));
  EXPECT_EQ(run({"volume", "set", "help"}), kDone);
  EXPECT_EQ(run({"volume", "get", "data", "a&b=c"}), kUsage);
}

TEST(CliUnreachable, NoDaemonIsFourAndSaysWhatToType) {
  std::ostringstream out, err;
  EXPECT_EQ(Cli(out, err).run({"--socket", "/var/tmp/polder-no-such.sock", "volume", "list"}), kUnreachable);
  EXPECT_THAT(err.str(), HasSubstr("polderd is not running: systemctl start polderd"));
}

TEST(VolumeWords, LayoutsOfLaterVersionsAreNamed) {
  EXPECT_TRUE(parse_create_words({"replica", "2", "a:/x", "b:/y"}).failed_with(EOPNOTSUPP));
  EXPECT_TRUE(parse_create_words({"disperse", "6", "a:/x"}).failed_with(EOPNOTSUPP));
  EXPECT_TRUE(parse_create_words({"a"}).failed_with(EINVAL));
  EXPECT_TRUE(parse_create_words({":/x"}).failed_with(EINVAL));
  EXPECT_TRUE(parse_create_words({"force"}).failed_with(EINVAL));
  EXPECT_THAT(parse_create_words({"[fd00::1]:/x", "force"})->bricks, ElementsAre("[fd00::1]:/x"));
}

TEST(TableText, FitsAHundredColumnsOrBecomesBlocks) {
  Table small({"A", "LONGER"});
  small.add({"one", "two"});
  EXPECT_EQ(small.text(), "A    LONGER\none  two\n");
  Table wide({"NAME", "PATH"});
  wide.add({"x", "/" + std::string(120, 'p')});
  EXPECT_EQ(wide.text(), "NAME: x\nPATH: /" + std::string(120, 'p') + "\n");
}

TEST_F(CliTest, CompletionKnowsEveryCommand) {
  EXPECT_EQ(run({"completion", "bash"}), kDone);
  for (const auto* word : {"'volume') words=", "create", "'cluster token') words=", "--role", "complete "}) {
    EXPECT_THAT(out.str(), HasSubstr(word));
  }
}

}  // namespace
}  // namespace polder
