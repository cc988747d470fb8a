// SPDX-License-Identifier: GPL-3.0-or-later
// A throw-away certificate authority for tests of TLS.
#pragma once
#include <memory>
#include <string>

#include "base/transport.h"

namespace polder {

class TestCa {
 public:
  explicit TestCa(std::string name);
  ~TestCa();
  const std::string& certificate_pem() const { return certificate_pem_; }
  const std::string& fingerprint() const { return fingerprint_; }
  /// A key, a certificate with this common name, and this CA as the one that is trusted. `valid_days` below
  /// 0: expired.
  TlsIdentity issue(const std::string& common_name, int valid_days = 1) const;

 private:
  struct Key;
  std::string name_;
  std::unique_ptr<Key> key_;
  std::string certificate_pem_;
  std::string fingerprint_;
};

}  // namespace polder
