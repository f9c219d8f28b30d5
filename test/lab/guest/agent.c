// SPDX-License-Identifier: Apache-2.0
//
// The lab's process 1 inside a guest. It runs commands for the host and carries their standard streams over one
// virtio-serial port, so that one boot serves many commands and an exit status travels as a number, not as text.
//
// A frame is: u32 payload length, u8 type, payload; integers little-endian. The types are the enum below and
// test/lab/channel.ts. Commands run one after another; the host queues.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  HOST_RUN = 1,    // u16 argc, u16 envc, then NUL-terminated: cwd, arguments, environment
  HOST_STDIN = 2,  // bytes; an empty frame is end of file
  HOST_KILL = 3,   // u32 signal, sent to the command's process group
  HOST_QUIT = 4,   // power off
  GUEST_HELLO = 16,  // the kernel release
  GUEST_STDOUT = 17,
  GUEST_STDERR = 18,
  GUEST_EXIT = 19,  // u32 wait status as in wait(2)
};

enum { kMaxFrame = 16 << 20, kMaxStrings = 4096, kChunk = 65536 };

static int port_ = -1;

struct Command {
  pid_t pid;
  int in, out, err;
  int exited, status;
  char* stdin_data;
  size_t stdin_size;
  int stdin_eof;
};

static void die(const char* what) {
  fprintf(stderr, "lab agent: %s: %s\n", what, strerror(errno));
  sync();
  reboot(RB_POWER_OFF);
  _exit(1);
}

static void write_all(int fd, const void* data, size_t size) {
  const char* at = data;
  while (size > 0) {
    ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      struct pollfd p = {.fd = fd, .events = POLLOUT};
      poll(&p, 1, -1);
      continue;
    }
    if (n < 0) die("write to the host");
    at += n;
    size -= (size_t)n;
  }
}

static void read_all(int fd, void* data, size_t size) {
  char* at = data;
  while (size > 0) {
    ssize_t n = read(fd, at, size);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
      struct pollfd p = {.fd = fd, .events = POLLIN};
      poll(&p, 1, -1);
      continue;
    }
    if (n <= 0) die("read from the host");  // 0: the host has hung up, nobody is left to serve
    at += n;
    size -= (size_t)n;
  }
}

static void send_frame(uint8_t type, const void* payload, uint32_t size) {
  uint8_t head[5] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16), (uint8_t)(size >> 24), type};
  write_all(port_, head, sizeof head);
  if (size > 0) write_all(port_, payload, size);
}

static uint32_t load_u32(const uint8_t* p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void send_exit(int status) {
  uint8_t payload[4] = {(uint8_t)status, (uint8_t)(status >> 8), (uint8_t)(status >> 16), (uint8_t)(status >> 24)};
  send_frame(GUEST_EXIT, payload, sizeof payload);
}

// Splits `size` bytes of NUL-terminated strings into `out`; returns 0 when there are not exactly `want`.
static int split_strings(char* data, size_t size, char** out, size_t want) {
  size_t found = 0;
  char* end = data + size;
  while (data < end && found < want) {
    char* nul = memchr(data, 0, (size_t)(end - data));
    if (nul == NULL) return 0;
    out[found++] = data;
    data = nul + 1;
  }
  return found == want && data == end;
}

static void exec_child(char* cwd, char** argv, char** envp, int fds[3]) {
  for (int i = 0; i < 3; i++) dup2(fds[i], i);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  if (chdir(cwd) != 0) {
    fprintf(stderr, "lab agent: cannot enter %s in the guest: %s\n", cwd, strerror(errno));
    _exit(126);
  }
  environ = envp;
  execvp(argv[0], argv);
  int code = errno == ENOENT ? 127 : 126;  // what a shell answers
  fprintf(stderr, "lab agent: cannot run %s: %s\n", argv[0], strerror(errno));
  _exit(code);
}

static void start(struct Command* c, char* cwd, char** argv, char** envp) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) die("pipe");
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) exec_child(cwd, argv, envp, (int[3]){in[0], out[1], err[1]});
  close(in[0]);
  close(out[1]);
  close(err[1]);
  fcntl(in[1], F_SETFL, O_NONBLOCK);
  fcntl(out[0], F_SETFL, O_NONBLOCK);
  fcntl(err[0], F_SETFL, O_NONBLOCK);
  *c = (struct Command){.pid = pid, .in = in[1], .out = out[0], .err = err[0]};
}

static void handle_run(struct Command* c, char* payload, uint32_t size) {
  static char* strings[kMaxStrings + 2];
  if (size < 4 || c->pid != 0) {
    errno = EPROTO;
    die("run frame");
  }
  const uint8_t* head = (const uint8_t*)payload;
  size_t argc = head[0] | (size_t)head[1] << 8;
  size_t envc = head[2] | (size_t)head[3] << 8;
  if (argc == 0 || argc + envc + 1 > kMaxStrings || !split_strings(payload + 4, size - 4, strings, 1 + argc + envc)) {
    errno = EPROTO;
    die("run frame");
  }
  // argv and envp each need a NULL behind them; make room for argv's between the two.
  memmove(&strings[1 + argc + 1], &strings[1 + argc], envc * sizeof strings[0]);
  strings[1 + argc] = NULL;
  strings[1 + argc + 1 + envc] = NULL;
  start(c, strings[0], &strings[1], &strings[1 + argc + 1]);
}

static void close_stdin(struct Command* c) {
  if (c->in >= 0) close(c->in);
  c->in = -1;
  free(c->stdin_data);
  c->stdin_data = NULL;
  c->stdin_size = 0;
}

static void flush_stdin(struct Command* c) {
  while (c->in >= 0 && c->stdin_size > 0) {
    ssize_t n = write(c->in, c->stdin_data, c->stdin_size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) return close_stdin(c);  // EPIPE: the command reads no more
    c->stdin_size -= (size_t)n;
    memmove(c->stdin_data, c->stdin_data + n, c->stdin_size);
  }
  if (c->stdin_eof && c->stdin_size == 0) close_stdin(c);
}

static void handle_stdin(struct Command* c, const char* payload, uint32_t size) {
  if (c->pid == 0 || c->in < 0) return;
  if (size == 0) {
    c->stdin_eof = 1;
  } else {
    char* grown = realloc(c->stdin_data, c->stdin_size + size);
    if (grown == NULL) die("standard input");
    memcpy(grown + c->stdin_size, payload, size);
    c->stdin_data = grown;
    c->stdin_size += size;
  }
  flush_stdin(c);
}

static void power_off(void) {
  sync();
  reboot(RB_POWER_OFF);
  die("power off");
}

static void handle_host(struct Command* c) {
  uint8_t head[5];
  read_all(port_, head, sizeof head);
  uint32_t size = load_u32(head);
  if (size > kMaxFrame) {
    errno = EMSGSIZE;
    die("frame from the host");
  }
  char* payload = malloc(size + 1);
  if (payload == NULL) die("frame from the host");
  read_all(port_, payload, size);
  switch (head[4]) {
    case HOST_RUN: handle_run(c, payload, size); break;
    case HOST_STDIN: handle_stdin(c, payload, size); break;
    case HOST_KILL:
      if (c->pid != 0 && !c->exited && size == 4) kill(-c->pid, (int)load_u32((const uint8_t*)payload));
      break;
    case HOST_QUIT: power_off(); break;
    default: errno = EPROTO; die("frame from the host");
  }
  free(payload);
}

// Passes on one chunk of a stream; closes it at its end. Returns 0 when nothing was there to read.
static int pump(int* fd, uint8_t type) {
  static char buffer[kChunk];
  if (*fd < 0) return 0;
  ssize_t n = read(*fd, buffer, sizeof buffer);
  if (n > 0) {
    send_frame(type, buffer, (uint32_t)n);
    return 1;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  close(*fd);
  *fd = -1;
  return 0;
}

static void reap(struct Command* c) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != c->pid) continue;  // an orphan that process 1 inherited
    c->exited = 1;
    c->status = status;
  }
}

// A command is over when its first process is: what its background children write later belongs to nobody.
// What is in the pipes already is passed on; 32 chunks hold the largest pipe, so an eager child cannot hold us here.
static void finish(struct Command* c) {
  for (int i = 0; i < 32 && pump(&c->out, GUEST_STDOUT); i++) {
  }
  for (int i = 0; i < 32 && pump(&c->err, GUEST_STDERR); i++) {
  }
  if (c->out >= 0) close(c->out);
  if (c->err >= 0) close(c->err);
  close_stdin(c);
  send_exit(c->status);
  *c = (struct Command){.in = -1, .out = -1, .err = -1};
}

static void serve(int signals) {
  struct Command c = {.in = -1, .out = -1, .err = -1};
  for (;;) {
    struct pollfd fds[] = {
        {.fd = port_, .events = POLLIN},
        {.fd = signals, .events = POLLIN},
        {.fd = c.out, .events = POLLIN},
        {.fd = c.err, .events = POLLIN},
        {.fd = c.stdin_size > 0 ? c.in : -1, .events = POLLOUT},
    };
    if (poll(fds, sizeof fds / sizeof fds[0], -1) < 0 && errno != EINTR) die("poll");
    if (fds[1].revents) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) > 0) {
      }
      reap(&c);
    }
    if (fds[2].revents) pump(&c.out, GUEST_STDOUT);
    if (fds[3].revents) pump(&c.err, GUEST_STDERR);
    if (fds[4].revents) flush_stdin(&c);
    if (c.exited) finish(&c);
    if (fds[0].revents & POLLIN) handle_host(&c);
    if (fds[0].revents & POLLHUP) power_off();
  }
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: agent PORT\n");
    return 2;
  }
  port_ = open(argv[1], O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (port_ < 0) die(argv[1]);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) die("signalfd");
  struct utsname name;
  uname(&name);
  send_frame(GUEST_HELLO, name.release, (uint32_t)strlen(name.release));
  serve(signals);
}
