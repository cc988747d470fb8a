// SPDX-License-Identifier: GPL-3.0-or-later
// The bodies of Asio, Asio's TLS and Beast, compiled once for the whole tree.
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
