// SPDX-License-Identifier: Apache-2.0
// The serving thread: made at the first connection, gone some seconds after the last. A client can neither block it
// (every socket is non-blocking, what a slow reader does not take is dropped) nor grow it (requests, clients and queued
// output are bounded).
#include "native/manage/server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "native/base/fd_copies.h"
#include "native/base/log.h"
#include "native/machine/guest_thread.h"
#include "native/manage/line_ring.h"
#include "native/manage/manage.h"
#include "native/manage/report.h"

namespace km {
namespace {

constexpr size_t kMaxClients = 16, kMaxOutput = 1 << 20, kServerStack = 256 * 1024;
constexpr int64_t kIdleMs = 10'000, kLingerMs = 2'000;
constexpr int kStreamMs = 20, kQuietMs = 500;

std::atomic<bool> serving{false};
LineRing* ring = nullptr;  // never freed: a payload thread may be inside push()
std::atomic<Stream> tapped{Stream::kNone};

struct Client {
  int fd;
  int64_t last;  // ms: when it last said something
  std::string input, output;
  Stream stream = Stream::kNone;
  bool closing = false;
  int signo = 0;
};

int64_t now_ms() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1000 + ts.tv_nsec / 1'000'000;
}

/// Called by payload threads for each line of the log. True: it goes nowhere else.
bool tap(bool is_trace, const char* line, size_t length) {
  const Stream wanted = tapped.load(std::memory_order_acquire);
  if (wanted == Stream::kNone || (is_trace != (wanted == Stream::kTrace))) return false;
  ring->push(line, length);
  return wanted == Stream::kTrace;
}

bool may_ask(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

/// Whether a signal would end any process but this one: the kernel lets no default action end pid 1 of a pid namespace
/// (pid_namespaces(7)).
bool ends_only_others(int signo) {
  if (getpid() != 1) return false;
  if (signo == SIGKILL) return true;
  for (int harmless : {SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU}) {
    if (signo == harmless) return false;
  }
  uint64_t action[4] = {};  // struct sigaction of the kernel; libc's call refuses signals 32 and 33
  host_syscall(SYS_rt_sigaction, static_cast<uint64_t>(signo), 0, reinterpret_cast<uint64_t>(&action), 8);
  return action[0] == 0;  // SIG_DFL
}

void stop_with(int signo) {
  if (ends_only_others(signo)) {
    report_signal(signo);
    exit_process(128 + signo);
  }
  if (signo == SIGKILL) manage_withdraw();
  kill(getpid(), signo);
}

class Server {
 public:
  void run();

 private:
  void accept_clients();
  void read_from(Client& client);
  void answer(Client& client, std::string_view line);
  void write_to(Client& client);
  void send_lines();
  void drop_closed();
  bool streaming() const;
  bool rest();

  std::vector<Client> clients_;
  int64_t last_client_ = 0;
};

void Server::accept_clients() {
  while (clients_.size() < kMaxClients) {
    int fd = accept4(manage_listener(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (may_ask(fd)) clients_.push_back(Client{.fd = fd, .last = now_ms(), .input = {}, .output = {}});
    else close(fd);
  }
}

void Server::answer(Client& client, std::string_view line) {
  Answer answer = manage_request(line);
  if (answer.stream != Stream::kNone && streaming()) {
    manage_end_stream(answer.stream);
    answer.text = "{\"ok\":false,\"error\":\"another client is listening\"}\n";
    answer.stream = Stream::kNone;
  }
  client.output += answer.text;
  client.signo = answer.signo;
  if (answer.stream == Stream::kNone) return;
  if (ring == nullptr) ring = new LineRing;
  std::string old;
  ring->take(&old);
  client.stream = answer.stream;
  tapped.store(answer.stream, std::memory_order_release);
  log_set_tap(&tap);
}

void Server::read_from(Client& client) {
  char buffer[kMaxRequest];
  ssize_t n = read(client.fd, buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    client.closing = true;
    return;
  }
  client.last = now_ms();
  client.input.append(buffer, static_cast<size_t>(n));
  for (size_t end; (end = client.input.find('\n')) != std::string::npos;) {
    const std::string line = client.input.substr(0, end);
    client.input.erase(0, end + 1);
    if (client.output.size() < kMaxOutput) answer(client, line);
  }
  if (client.input.size() >= kMaxRequest || client.output.size() >= kMaxOutput) client.closing = true;
}

void Server::write_to(Client& client) {
  while (!client.output.empty()) {
    ssize_t n = send(client.fd, client.output.data(), client.output.size(), MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      client.closing = true;
      return;
    }
    client.output.erase(0, static_cast<size_t>(n));
    client.last = now_ms();
  }
  if (client.signo != 0) stop_with(std::exchange(client.signo, 0));
}

void Server::send_lines() {
  for (Client& client : clients_) {
    if (client.stream == Stream::kNone || client.output.size() >= kMaxOutput) continue;
    std::string lines;
    const uint64_t dropped = ring->take(&lines);
    if (dropped != 0) client.output += "{\"dropped\":" + std::to_string(dropped) + "}\n";
    for (size_t at = 0, end; (end = lines.find('\n', at)) != std::string::npos; at = end + 1) {
      client.output += "{\"line\":";
      json_string(&client.output, std::string_view(lines).substr(at, end - at));
      client.output += "}\n";
    }
  }
}

bool Server::streaming() const {
  for (const Client& client : clients_) {
    if (client.stream != Stream::kNone) return true;
  }
  return false;
}

void Server::drop_closed() {
  const int64_t now = now_ms();
  for (size_t i = 0; i < clients_.size();) {
    Client& client = clients_[i];
    if (client.stream == Stream::kNone && now - client.last > kIdleMs) client.closing = true;
    if (!client.closing) {
      i++;
      continue;
    }
    if (client.stream != Stream::kNone) {
      tapped.store(Stream::kNone, std::memory_order_release);
      manage_end_stream(client.stream);
    }
    close(client.fd);
    clients_.erase(clients_.begin() + static_cast<ptrdiff_t>(i));
  }
  if (!clients_.empty()) last_client_ = now;
}

/// Nobody has been here for a while: gives the socket back to its signal. False when somebody came meanwhile.
bool Server::rest() {
  if (!clients_.empty() || now_ms() - last_client_ < kLingerMs) return false;
  pollfd waiting{manage_listener(), POLLIN, 0};
  manage_arm(true);
  serving = false;
  // A connection before the signal was armed raised none.
  if (poll(&waiting, 1, 0) == 0 || serving.exchange(true)) return true;
  manage_arm(false);
  return false;
}

void Server::run() {
  last_client_ = now_ms();
  while (!rest()) {
    std::vector<pollfd> polled{{manage_listener(), static_cast<short>(clients_.size() < kMaxClients ? POLLIN : 0), 0}};
    for (const Client& client : clients_) {
      polled.push_back({client.fd, static_cast<short>(POLLIN | (client.output.empty() ? 0 : POLLOUT)), 0});
    }
    poll(polled.data(), polled.size(), streaming() ? kStreamMs : kQuietMs);
    for (size_t i = 0; i < clients_.size(); i++) {
      if (polled[i + 1].revents & ~POLLOUT) read_from(clients_[i]);
    }
    if (polled[0].revents & POLLIN) accept_clients();
    if (streaming()) send_lines();
    for (Client& client : clients_) write_to(client);
    drop_closed();
  }
}

/// A descriptor table of this thread's own with nothing in it but the listener and the launcher's report: accepted
/// sockets never take a number the payload expects, and no pipe of the payload is kept open from here. Closing in a
/// table of its own releases no record lock of the payload's (they belong to the table).
bool take_own_descriptors() {
  const auto [low, high] = std::minmax({manage_listener(), report_descriptor()});  // by value
  if (syscall(SYS_close_range, high + 1, ~0u, CLOSE_RANGE_UNSHARE) != 0) return false;  // Linux 5.9
  // low is -1 without a report.
  if (high - low > 1 && syscall(SYS_close_range, low + 1, high - 1, 0) != 0) return false;
  return low <= 0 || syscall(SYS_close_range, 0, low - 1, 0) == 0;
}

void* serve(void*) {
  prctl(PR_SET_NAME, "km-manage");
  log_name_thread("manage");
  if (!take_own_descriptors()) {
    serving = false;
    return nullptr;
  }
  Server server;
  server.run();
  return nullptr;
}

}  // namespace

void manage_forget_server() {
  fd_copy_ends();
  serving = false;
  tapped = Stream::kNone;
}

void manage_answer() {
  detail::manage_called = 0;
  if (serving.exchange(true)) return;
  manage_arm(false);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kServerStack);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // Inherited: the thread takes no signal of the payload's.
  uint64_t all = ~0ull, before = 0;
  host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<uint64_t>(&all), reinterpret_cast<uint64_t>(&before),
               8);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, serve, nullptr);
  host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<uint64_t>(&before), 0, 8);
  pthread_attr_destroy(&attributes);
  if (error == 0) return;
  KM_LOG("no thread to answer on the management socket: %d", error);
  manage_arm(true);
  serving = false;
}

}  // namespace km
