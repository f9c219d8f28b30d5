// SPDX-License-Identifier: Apache-2.0
// Inside the management plane: between announcing, serving and answering.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace km {

/// The listening socket or -1.
int manage_listener();
/// Whether a connection raises the signal.
void manage_arm(bool on);
/// In a forked child: the server thread was the parent's.
void manage_forget_server();

constexpr size_t kMaxRequest = 512;  ///< bytes of one request line

/// What a client wants to be sent from now on.
enum class Stream : unsigned char { kNone, kTrace, kLog };

struct Answer {
  std::string text;  ///< one line of JSON, newline included
  Stream stream = Stream::kNone;
  int signo = 0;  ///< to be sent to the process behind the answer
};

/// Answers one request line (without its newline); hostile input yields {"ok":false,...}.
Answer manage_request(std::string_view line);

/// Stops what a streaming client had switched on.
void manage_end_stream(Stream stream);

/// Appends `text` as a JSON string; bytes that are not UTF-8 by themselves are kept as \u00XX.
void json_string(std::string* out, std::string_view text);

}  // namespace km
