// SPDX-License-Identifier: Apache-2.0
// What travels beside the bytes of a unix socket: descriptors (several, with and without close-on-exec, with too little
// room, beyond the receiver's limit, along a chain, never fetched) and credentials (asked for, forged, of a child).
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "report.h"

enum { MOST = 253, ROOM = 2048 };  // SCM_MAX_FD

/// Sends `count` descriptors with one byte; what sendmsg(2) gave.
static long send_fds(int socket, const int* fds, int count) {
  static _Alignas(struct cmsghdr) char control[ROOM];
  char byte = 'x';
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
  m.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
  struct cmsghdr* c = (struct cmsghdr*)control;
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
  memcpy(CMSG_DATA(c), fds, (size_t)count * sizeof(int));
  return sendmsg(socket, &m, MSG_DONTWAIT);
}

/// Receives into `room` bytes of control data; the descriptors go into `fds`. Returns how many came.
static int receive_fds(const char* what, int socket, size_t room, int flags, int* fds) {
  static _Alignas(struct cmsghdr) char control[ROOM];
  char byte = 0;
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
  memset(control, 0, sizeof control);
  const long got = recvmsg(socket, &m, flags | MSG_DONTWAIT);
  if (got < 0) return (int)result(what, got);
  int count = 0;
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(c), (size_t)count * sizeof(int));
  }
  show(what, "%d descriptors, %zu bytes of control data%s%s", count, m.msg_controllen,
       m.msg_flags & MSG_CTRUNC ? ", cut" : "", m.msg_flags & MSG_CMSG_CLOEXEC ? ", close-on-exec" : "");
  return count;
}

static void close_all(const int* fds, int count) {
  for (int i = 0; i < count; i++) close(fds[i]);
}

static int open_count(void) {
  int count = 0;
  for (int fd = 0; fd < 2000; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static void several(const int pair[2]) {
  int fds[MOST + 1], got[MOST + 1], pipe_fds[2];
  must(pipe(pipe_fds) == 0, "pipe");
  const int sent[3] = {pipe_fds[0], pipe_fds[1], pipe_fds[0]};
  result("three descriptors sent", send_fds(pair[0], sent, 3));
  int count = receive_fds("three", pair[1], ROOM, 0, got);
  check(count == 3 && write(got[1], "y", 1) == 1, "the pipe's other name works");
  char byte = 0;
  check(read(pipe_fds[0], &byte, 1) == 1 && byte == 'y', "it is the same pipe");
  show("flags without close-on-exec", "%d", fcntl(got[0], F_GETFD));
  close_all(got, count);
  result("sent for close-on-exec", send_fds(pair[0], sent, 2));
  count = receive_fds("close-on-exec", pair[1], ROOM, MSG_CMSG_CLOEXEC, got);
  show("flags", "%d %d", fcntl(got[0], F_GETFD), fcntl(got[1], F_GETFD));
  close_all(got, count);
  for (int i = 0; i <= MOST; i++) fds[i] = pipe_fds[i & 1];
  result("as many as there may be", send_fds(pair[0], fds, MOST));
  count = receive_fds("253", pair[1], ROOM, 0, got);
  close_all(got, count);
  result("one more", send_fds(pair[0], fds, MOST + 1));
  close_all(pipe_fds, 2);
}

static void too_little_room(const int pair[2]) {
  const int sent[4] = {0, 1, 1, 1}, before = open_count();
  int got[MOST];
  static const size_t kRooms[] = {CMSG_LEN(2 * sizeof(int)), CMSG_LEN(3 * sizeof(int)) + 3, CMSG_LEN(0), 8, 0};
  for (size_t i = 0; i < sizeof kRooms / sizeof kRooms[0]; i++) {
    must(send_fds(pair[0], sent, 4) == 1, "send");
    char what[48];
    snprintf(what, sizeof what, "into %zu bytes", kRooms[i]);
    close_all(got, receive_fds(what, pair[1], kRooms[i], 0, got));
  }
  must(send_fds(pair[0], sent, 4) == 1, "send");
  char byte;
  result("read(2) drops them", read(pair[1], &byte, 1));
  check(open_count() == before, "none of them was left open");
}

static void bad_ones(const int pair[2]) {
  const int closed[2] = {1, 999}, negative[1] = {-1};
  result("a closed one among them", send_fds(pair[0], closed, 2));
  result("a negative one", send_fds(pair[0], negative, 1));
  int got[MOST];
  receive_fds("nothing was sent", pair[1], ROOM, 0, got);
}

/// The receiver has numbers left for two of five.
static void receivers_limit(const int pair[2]) {
  const int sent[5] = {0, 1, 2, 1, 0};
  int got[MOST];
  struct rlimit limit, less;
  getrlimit(RLIMIT_NOFILE, &limit);
  const int next = dup(0);
  close(next);
  less = limit;
  less.rlim_cur = (rlim_t)next + 2;
  result("sent to one with little room", send_fds(pair[0], sent, 5));
  setrlimit(RLIMIT_NOFILE, &less);
  const int count = receive_fds("two numbers left", pair[1], ROOM, 0, got);
  result("no third", dup(0));
  setrlimit(RLIMIT_NOFILE, &limit);
  close_all(got, count);
}

/// A descriptor that is only in a message lives there; one passed on twice is the same file.
static void in_flight(const int pair[2]) {
  int pipe_fds[2], got[MOST];
  must(pipe(pipe_fds) == 0, "pipe");
  must(send_fds(pair[0], &pipe_fds[1], 1) == 1, "send");
  close(pipe_fds[1]);
  struct pollfd ready = {.fd = pipe_fds[0], .events = POLLIN};
  result("no hangup while it is in flight", poll(&ready, 1, 0));
  const pid_t child = fork();
  if (child == 0) {
    if (receive_fds("in a child", pair[1], ROOM, 0, got) != 1) _exit(1);
    _exit(write(got[0], "from a child", 12) == 12 ? 0 : 2);
  }
  int status = -1;
  waitpid(child, &status, 0);
  show("child", "%d", status);
  char text[32] = "";
  result("its words", read(pipe_fds[0], text, sizeof text));
  show("text", "%s", text);
  result("then the end", read(pipe_fds[0], text, sizeof text));
  close(pipe_fds[0]);
  must(send_fds(pair[0], &pair[0], 1) == 1, "send");  // a socket through itself: Linux's collector must see to it
  show("a socket in its own queue", "sent");
}

/// The sender's credentials as SO_PASSCRED shows them; `claimed`: what the message says, or NULL.
static void credentials(const char* what, const int pair[2], const struct ucred* claimed) {
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))] = {0};
  char byte = 'c';
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  if (claimed != NULL) {
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    struct cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_CREDENTIALS;
    c->cmsg_len = CMSG_LEN(sizeof *claimed);
    memcpy(CMSG_DATA(c), claimed, sizeof *claimed);
  }
  if (result(what, sendmsg(pair[0], &m, MSG_DONTWAIT)) < 0) return;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  must(recvmsg(pair[1], &m, MSG_DONTWAIT) == 1, "recvmsg");
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (c == NULL) return show(what, "no credentials");
  struct ucred seen;
  memcpy(&seen, CMSG_DATA(c), sizeof seen);
  const char* whose = seen.pid == getpid() ? "own" : seen.pid == getppid() ? "the parent's" : "another";
  show(what, "type %d, %s pid, uid %s, gid %s", c->cmsg_type, whose, seen.uid == getuid() ? "own" : "another",
       seen.gid == getgid() ? "own" : "another");
}

static void who_sends(void) {
  int pair[2], on = 1;
  struct ucred peer = {0};
  socklen_t size = sizeof peer;
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
  result("SO_PEERCRED", getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &peer, &size));
  check(peer.pid == getpid() && peer.uid == getuid() && peer.gid == getgid(), "the peer is this process");
  credentials("not asked for", pair, NULL);
  result("SO_PASSCRED", setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  credentials("asked for", pair, NULL);
  const struct ucred own = {getpid(), getuid(), getgid()};
  credentials("said", pair, &own);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    credentials("by a child", pair, NULL);
    // Without rights to say so: only its own.
    if (getuid() == 0 && setuid(65534) != 0) _exit(1);
    const struct ucred root = {getpid(), 0, 0}, parent = {getppid(), getuid(), getgid()};
    credentials("forged user", pair, &root);
    credentials("forged process", pair, &parent);
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  show("child", "%d", status);
  const struct ucred nobody = {0x3fffffff, getuid(), getgid()};
  credentials("a process that is not there", pair, &nobody);
  close_all(pair, 2);
}

int main(void) {
  static const int kTypes[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  for (size_t i = 0; i < sizeof kTypes / sizeof kTypes[0]; i++) {
    int pair[2];
    must(socketpair(AF_UNIX, kTypes[i], 0, pair) == 0, "socketpair");
    show("socket type", "%d", kTypes[i]);
    several(pair);
    too_little_room(pair);
    bad_ones(pair);
    receivers_limit(pair);
    in_flight(pair);
    close_all(pair, 2);
  }
  who_sends();
  return finish();
}
