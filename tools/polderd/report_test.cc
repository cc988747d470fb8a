// SPDX-License-Identifier: GPL-3.0-or-later
// What the daemon tells people and programs: pure functions of what it found.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/polderd/brick_report.h"
#include "tools/polderd/metrics_page.h"
#include "tools/polderd/readable.h"
#include "tools/polderd/state_dump.h"

namespace polder {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(MetricsPageTest, FamiliesAreTogetherWhateverTheOrder) {
  MetricsPage page;
  page.counter("polder_a_total", "The first.", {{"op", "x"}}, 1);
  page.gauge("polder_b", "The second.", {}, 2.5);
  page.counter("polder_a_total", "Not shown.", {{"op", "y\"\n\\"}}, 3);
  EXPECT_EQ(page.text(),
            "# HELP polder_a_total The first.\n# TYPE polder_a_total counter\n"
            "polder_a_total{op=\"x\"} 1\npolder_a_total{op=\"y\\\"\\n\\\\\"} 3\n"
            "# HELP polder_b The second.\n# TYPE polder_b gauge\npolder_b 2.5\n");
}

TEST(MetricsPageTest, ALatencyIsACumulativeHistogramInSeconds) {
  LatencyHistogram latency;
  latency.add(1000);        // below 1.024 µs
  latency.add(3000);        // below 4.096 µs
  latency.add(UINT64_MAX);  // in no bucket with a limit
  MetricsPage page;
  page.latency("polder_op_seconds", "Time.", {}, latency, 5'000'000'000);
  const auto text = page.text();
  EXPECT_THAT(text, HasSubstr("# TYPE polder_op_seconds histogram\n"));
  EXPECT_THAT(text, HasSubstr("polder_op_seconds_count 3\npolder_op_seconds_sum 5\n"));
  EXPECT_THAT(text, HasSubstr("polder_op_seconds_bucket{le=\"1.024e-06\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("polder_op_seconds_bucket{le=\"4.096e-06\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("_bucket{le=\"+Inf\"} 3\n"));
}

TEST(FileSystemFactsTest, TheDeepestAndLatestMountCounts) {
  const std::string mountinfo =
      "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/none rw,errors=remount-ro\n"
      "2 1 8:2 / /bricks rw,noatime shared:2 master:3 - btrfs /dev/none2 rw,space_cache=v2,subvol=/\n"
      "3 1 8:3 / /bricks/a rw - tmpfs one rw\n"
      "4 1 8:3 / /bricks/a rw,nodev - tmpfs two rw,size=1k\n"
      "5 1 8:4 / /bricks/with\\040blank rw - tmpfs three rw\n";
  EXPECT_EQ(file_system_of("/srv/x", mountinfo).type, "ext4");
  EXPECT_EQ(file_system_of("/srv/x", mountinfo).mount_options, "rw,relatime,errors=remount-ro");
  EXPECT_EQ(file_system_of("/bricks/ab", mountinfo).device, "/dev/none2") << "/bricks/a is another directory";
  EXPECT_EQ(file_system_of("/bricks/a/b", mountinfo).device, "two") << "mounted over the first";
  EXPECT_EQ(file_system_of("/bricks/a", mountinfo).mount_options, "rw,nodev,size=1k");
  EXPECT_EQ(file_system_of("/bricks/with blank/x", mountinfo).device, "three");
  EXPECT_EQ(file_system_of("/bricks/a", mountinfo).inode_size, 0u) << "tmpfs has no such size";
  EXPECT_EQ(file_system_of("/x", "nonsense\n\n1 2 3\n").type, "");
}

TEST(ReadableTest, WhatATerminalOrAJsonParserMayNotGet) {
  EXPECT_EQ(readable("plain väl 日本 😀"), "plain väl 日本 😀");
  EXPECT_EQ(readable("a\nb\x1b[2J\\"), "a\\x0ab\\x1b[2J\\x5c");
  EXPECT_EQ(readable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(readable("\xc0\xaf"), "\\xc0\\xaf") << "an over-long form";
  EXPECT_EQ(readable("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "a surrogate";
  EXPECT_EQ(readable(""), "");
}

TEST(StateDumpTest, SectionsInTheStyleOfGlusterFS) {
  json::object dump{
      {"global", json::object{{"pid", 7}, {"name", "two\nlines"}}},
      {"bricks", json::array{json::object{{"brick", "a:/b"},
                                          {"fd", json::object{{"count", 1}}},
                                          {"list", json::array{json::object{{"x", true}}, 5}}}}}};
  EXPECT_EQ(dump_text(dump),
            "\n[global]\npid=7\nname=two?lines\n"
            "\n[bricks.1]\nbrick=a:/b\n"
            "\n[bricks.1.fd]\ncount=1\n"
            "\n[bricks.1.list.1]\nx=true\n"
            "\n[bricks.1.list.2]\nvalue=5\n");
  EXPECT_TRUE(is_dump_section("callpool"));
  EXPECT_FALSE(is_dump_section("everything"));
}

TEST(StateDumpTest, ClientsMayHaveAnyNames) {
  RpcClientInfo client;
  client.client_name = "evil\x80\n";
  const auto text = json::text(to_json(client));
  EXPECT_TRUE(json::parse(text)) << text;
  EXPECT_THAT(text, Not(HasSubstr("\n")));
}

TEST(ProcessFactsTest, AreThoseOfThisProcess) {
  const auto facts = process_facts();
  EXPECT_GT(facts.resident_bytes, 1u << 20);
  EXPECT_GE(facts.peak_resident_bytes, facts.resident_bytes / 2);
  EXPECT_GE(facts.open_fds, 3u);
  EXPECT_GE(facts.max_fds, facts.open_fds);
  EXPECT_GE(facts.threads, 1u);
  // A sanitizer has its own allocator, of which mallinfo2() knows nothing: all zeros.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  EXPECT_GT(facts.heap_used_bytes + facts.mapped_bytes, 0u);
#endif
}

}  // namespace
}  // namespace polder
