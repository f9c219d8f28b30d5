// SPDX-License-Identifier: Apache-2.0
// Hostile clients of the management socket, and payloads with hostile names: every request line gets exactly one line
// of JSON. The first line of the input is the payload's name, the second its argument, the others are requests.
#include <signal.h>

#include "native/km/options.h"
#include "native/machine/process.h"
#include "native/manage/server.h"
#include "test/fuzz/require.h"

using namespace km;

namespace {

/// What the answers name; nothing is run.
class NoMachine final : public Machine {
 public:
  Window window() const override { return {0x200000, 0x10000000}; }
  int protect(uint64_t, uint64_t, uint32_t) override { return 0; }
  int fill(uint64_t, uint64_t, uint64_t, uint32_t) override { return 0; }
  int map_private(uint64_t, const void*, uint64_t, uint32_t) override { return 0; }
  std::unique_ptr<Vcpu> create_vcpu(int*) override { return nullptr; }
  uint64_t sigreturn_address() const override { return 0; }
  size_t xstate_size() const override { return 0; }
  uint64_t xcr0() const override { return 0; }
  const char* kind() const override { return "none"; }
  void abandon() override {}
};

class NoDriver final : public Driver {
 public:
  const Capabilities& capabilities() const override { return capabilities_; }
  const char* path() const override { return "/dev/none"; }
  int fd() const override { return -1; }
  std::unique_ptr<Machine> create_machine(const MachineOptions&, int*, const char**) override { return nullptr; }

 private:
  Capabilities capabilities_;
};

/// A JSON value, or the end of the text where there is none.
class Json {
 public:
  explicit Json(std::string_view text) : text_(text) {}
  bool whole() { return value() && at_ == text_.size(); }

 private:
  bool take(char c) { return at_ < text_.size() && text_[at_] == c && ++at_ != 0; }
  bool word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  bool string() {
    if (!take('"')) return false;
    while (at_ < text_.size() && text_[at_] != '"') {
      const char c = text_[at_++];
      if (c < 0x20 || c == 0x7f) return false;
      if (c != '\\') continue;
      if (take('"') || take('\\')) continue;
      if (!take('u')) return false;
      for (int i = 0; i < 4; i++) {
        if (at_ == text_.size() || !isxdigit(text_[at_++])) return false;
      }
    }
    return take('"');
  }
  bool number() {
    const size_t start = at_;
    take('-');
    while (at_ < text_.size() && isdigit(text_[at_])) at_++;
    return at_ > start && isdigit(text_[at_ - 1]);
  }
  bool list(char end, bool named) {
    if (take(end)) return true;
    do {
      if (named && !(string() && take(':'))) return false;
      if (!value()) return false;
    } while (take(','));
    return take(end);
  }
  bool value() {
    if (take('{')) return list('}', true);
    if (take('[')) return list(']', false);
    return word("true") || word("false") || number() || string();
  }

  std::string_view text_;
  size_t at_ = 0;
};

void check(const Answer& answer) {
  REQUIRE(answer.text.size() > 1 && answer.text.find('\n') == answer.text.size() - 1);
  const std::string_view line = std::string_view(answer.text).substr(0, answer.text.size() - 1);
  const bool good = line.starts_with("{\"ok\":true");
  REQUIRE(good || line.starts_with("{\"ok\":false,\"error\":\""));
  REQUIRE(Json(line).whole());
  REQUIRE(good || (answer.stream == Stream::kNone && answer.signo == 0));
  REQUIRE(answer.signo >= 0 && answer.signo <= SIGRTMAX);
}

std::string_view take_line(std::string_view* rest) {
  const size_t end = rest->find('\n');
  const std::string_view line = rest->substr(0, end);
  rest->remove_prefix(end == std::string_view::npos ? rest->size() : end + 1);
  return line;
}

void start() {
  static Options options;
  Process& p = process();
  p.driver = std::make_unique<NoDriver>();
  p.machine = std::make_unique<NoMachine>();
  p.options = &options;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool started = (start(), true);
  if (!started) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data), size);  // bytes as characters
  process().exe_path = take_line(&rest);
  process().argv = {process().exe_path, std::string(take_line(&rest))};
  // The server gives up a client whose line is longer (server.cc).
  for (int requests = 0; !rest.empty() && requests < 16; requests++) {
    const Answer answer = manage_request(take_line(&rest).substr(0, kMaxRequest));
    check(answer);
    manage_end_stream(answer.stream);
  }
  return 0;
}
