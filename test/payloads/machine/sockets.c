// SPDX-License-Identifier: Apache-2.0
// Sockets of three families and everything that waits for descriptors.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "report.h"

static int listener(int family, struct sockaddr_storage* where, socklen_t* size) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(fd >= 0, "socket");
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  const int bound = family == AF_INET ? bind(fd, (void*)&v4, sizeof v4) : bind(fd, (void*)&v6, sizeof v6);
  if (bound != 0) {
    close(fd);
    return -1;
  }
  must(listen(fd, 16) == 0, "listen");
  *size = sizeof *where;
  must(getsockname(fd, (struct sockaddr*)where, size) == 0, "getsockname");
  return fd;
}

struct Echo {
  int fd;
  long bytes;
};

static void* echo(void* arg) {
  struct Echo* state = arg;
  const int peer = accept4(state->fd, NULL, NULL, SOCK_CLOEXEC);
  static char buffer[65536];
  long n;
  while ((n = read(peer, buffer, sizeof buffer)) > 0) {
    for (long sent = 0; sent < n;) sent += write(peer, buffer + sent, (size_t)(n - sent));
    state->bytes += n;
  }
  close(peer);
  return NULL;
}

static void stream(int family, const char* name) {
  struct sockaddr_storage where;
  socklen_t size;
  struct Echo state = {listener(family, &where, &size), 0};
  if (state.fd < 0) {
    show(name, "bind: %s", strerrorname_np(errno));
    return;
  }
  pthread_t thread;
  must(pthread_create(&thread, NULL, echo, &state) == 0, "pthread_create");
  const int fd = socket(family, SOCK_STREAM, 0);
  result("connect", connect(fd, (struct sockaddr*)&where, size));
  const int on = 1;
  result("TCP_NODELAY", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  int type = 0, error = -1;
  socklen_t length = sizeof type;
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  show("type, pending error", "%d %d", type == SOCK_STREAM, error);
  static char out[200000], in[200000];
  for (size_t i = 0; i < sizeof out; i++) out[i] = (char)(i * 31);
  size_t sent = 0, got = 0;
  while (got < sizeof in) {
    struct pollfd one = {fd, (short)(POLLIN | (sent < sizeof out ? POLLOUT : 0)), 0};
    must(poll(&one, 1, 20000) == 1, "poll");
    if ((one.revents & POLLOUT) && sent < sizeof out) {
      const long n = send(fd, out + sent, sizeof out - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) sent += (size_t)n;
    }
    if (one.revents & POLLIN) {
      const long n = recv(fd, in + got, sizeof in - got, MSG_DONTWAIT);
      if (n > 0) got += (size_t)n;
    }
  }
  show("echoed", "%zu, same %d", got, memcmp(in, out, sizeof in) == 0);
  result("shutdown", shutdown(fd, SHUT_WR));
  result("end of stream", read(fd, in, 1));
  pthread_join(thread, NULL);
  show("echo server's count", "%ld", state.bytes);
  close(fd);
  close(state.fd);
  const int late = socket(family, SOCK_STREAM, 0);
  result("connect to nobody", connect(late, (struct sockaddr*)&where, size));
  result("send unconnected", send(late, "x", 1, MSG_NOSIGNAL));
  close(late);
}

static void datagrams(void) {
  const int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
  socklen_t size = sizeof where;
  must(bind(a, (void*)&where, size) == 0 && getsockname(a, (void*)&where, &size) == 0, "bind");
  result("sendto", sendto(b, "datagram", 8, 0, (void*)&where, sizeof where));
  char text[32] = "";
  socklen_t from_size = sizeof from;
  result("recvfrom, truncated", recvfrom(a, text, 4, MSG_TRUNC, (void*)&from, &from_size));
  show("from", "%s, %u bytes of address", inet_ntoa(from.sin_addr), from_size);
  struct mmsghdr messages[3];
  struct iovec parts[3] = {{"one", 3}, {"two", 3}, {"three", 5}};
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < 3; i++) {
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &where;
    messages[i].msg_hdr.msg_namelen = sizeof where;
  }
  result("sendmmsg", sendmmsg(b, messages, 3, 0));
  static char received[3][16];
  for (int i = 0; i < 3; i++) {
    parts[i] = (struct iovec){received[i], 16};
    messages[i].msg_hdr.msg_name = NULL;
  }
  // It waits: a busy host delivers datagrams a moment after they were sent, even on loopback.
  result("recvmmsg", recvmmsg(a, messages, 3, 0, NULL));
  show("received", "%s %s %s", received[0], received[1], received[2]);
  result("recv of nothing", recv(a, text, 1, MSG_DONTWAIT));
  close(a);
  close(b);
}

static void passing(void) {
  int pair[2], file[2];
  must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0 && pipe(file) == 0, "socketpair");
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    char control[CMSG_SPACE(sizeof(int) * 2)], byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) != 1) _exit(1);
    int received[2];
    memcpy(received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
    _exit(write(received[0], "through", 7) == 7 && fcntl(received[1], F_GETFD) == FD_CLOEXEC ? 0 : 2);
  }
  char control[CMSG_SPACE(sizeof(int) * 2)] = "";
  struct iovec part = {"x", 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * 2);
  const int fds[2] = {file[1], file[0]};
  memcpy(CMSG_DATA(header), fds, sizeof fds);
  result("sendmsg with descriptors", sendmsg(pair[0], &message, 0));
  int status;
  waitpid(child, &status, 0);
  char text[16] = "";
  result("read what the child wrote", read(file[0], text, sizeof text));
  show("text", "%s, child %d", text, WEXITSTATUS(status));
  const int on = 1;
  setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  must(send(pair[1], "c", 1, 0) == 1, "send");
  char credentials[256];
  message = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = credentials, .msg_controllen = sizeof credentials};
  char byte;
  part.iov_base = &byte;
  result("recvmsg with credentials", recvmsg(pair[0], &message, 0));
  header = CMSG_FIRSTHDR(&message);
  struct ucred who = {0};
  if (header && header->cmsg_type == SCM_CREDENTIALS) memcpy(&who, CMSG_DATA(header), sizeof who);
  show("they are ours", "%d", who.pid == getpid() && who.uid == getuid());
  socklen_t size = sizeof who;
  result("SO_PEERCRED", getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &size));
  show("peer is ours", "%d", who.pid == getpid());
  // A descriptor that is not open cannot be passed.
  const int closed = 77;
  char bad_control[CMSG_SPACE(sizeof(int))] = "";
  message = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = bad_control, .msg_controllen = sizeof bad_control};
  header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &closed, sizeof closed);
  result("passing a closed descriptor", sendmsg(pair[0], &message, 0));
}

static void unix_names(void) {
  char directory[] = "/tmp/km-unix-XXXXXX";
  must(mkdtemp(directory) != NULL, "mkdtemp");
  struct sockaddr_un where = {.sun_family = AF_UNIX}, got;
  snprintf(where.sun_path, sizeof where.sun_path, "%s/socket", directory);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
  result("bind to a path", bind(fd, (void*)&where, sizeof where));
  result("bind again", bind(client, (void*)&where, sizeof where));
  result("connect before listen", connect(client, (void*)&where, sizeof where));
  result("listen", listen(fd, 1));
  result("connect", connect(client, (void*)&where, sizeof where));
  socklen_t size = sizeof got;
  const int peer = accept(fd, (void*)&got, &size);
  show("an unnamed client", "%d", size <= (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1);
  size = sizeof got;
  result("getpeername", getpeername(client, (void*)&got, &size));
  show("it is the path", "%d", strcmp(got.sun_path, where.sun_path) == 0);
  struct stat st;
  stat(where.sun_path, &st);
  show("a socket in the file system", "%d", S_ISSOCK(st.st_mode));
  close(peer);
  close(fd);
  close(client);
  unlink(where.sun_path);
  rmdir(directory);
}

static void epolls(void) {
  const int set = epoll_create1(EPOLL_CLOEXEC), event = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE), plain = open("/dev/null", O_RDONLY);
  struct epoll_event want = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x123456789abcdef0}, got[4];
  result("add", epoll_ctl(set, EPOLL_CTL_ADD, event, &want));
  result("add again", epoll_ctl(set, EPOLL_CTL_ADD, event, &want));
  result("add a file", epoll_ctl(set, EPOLL_CTL_ADD, open("/etc/passwd", O_RDONLY), &want));
  result("modify a stranger", epoll_ctl(set, EPOLL_CTL_MOD, plain, &want));
  result("wait, nothing", epoll_wait(set, got, 4, 0));
  must(eventfd_write(event, 2) == 0, "eventfd_write");
  result("wait", epoll_wait(set, got, 4, 1000));
  show("data", "%lx events %x", (unsigned long)got[0].data.u64, got[0].events);
  result("edge only once", epoll_wait(set, got, 4, 0));
  eventfd_t value;
  result("semaphore read", eventfd_read(event, &value));
  result("semaphore read", eventfd_read(event, &value));
  result("semaphore read", eventfd_read(event, &value));
  // Close without DEL and use the number again, as most servers do.
  close(event);
  const int again = eventfd(1, 0);
  show("same number", "%d", again == event);
  want.events = EPOLLIN | EPOLLONESHOT;
  result("add the reused number", epoll_ctl(set, EPOLL_CTL_ADD, again, &want));
  result("wait", epoll_pwait(set, got, 4, 1000, NULL));
  result("one shot", epoll_wait(set, got, 4, 0));
  result("rearm", epoll_ctl(set, EPOLL_CTL_MOD, again, &want));
  result("wait", epoll_wait(set, got, 4, 1000));
  result("delete", epoll_ctl(set, EPOLL_CTL_DEL, again, NULL));
  result("wait on no events", epoll_wait(set, got, 0, 0));
  result("wait into nothing", epoll_wait(set, hidden((void*)8), 4, 0));
  close(again);
  close(plain);
  close(set);
}

static void polls(void) {
  int fds[2];
  must(pipe(fds) == 0, "pipe");
  struct pollfd list[4] = {{fds[0], POLLIN, 0}, {-1, POLLIN, 77}, {fds[1], POLLOUT, 0}, {99, POLLIN, 0}};
  result("poll", poll(list, 4, 1000));
  show("revents", "%x %x %x %x", list[0].revents, list[1].revents, list[2].revents, list[3].revents);
  close(fds[1]);
  list[0].revents = 0;
  result("poll after hang-up", poll(list, 1, 1000));
  show("revents", "%x", list[0].revents);
  const long start = now_ms();
  result("poll of nothing", poll(NULL, 0, 30));
  check(now_ms() - start >= 29, "it waited");
  fd_set reading;
  FD_ZERO(&reading);
  FD_SET(fds[0], &reading);
  struct timeval limit = {5, 0};
  result("select", select(fds[0] + 1, &reading, NULL, NULL, &limit));
  // A low number: the kernel ignores those beyond the table it has for this process at the moment.
  const int closed = dup(fds[0]);
  close(closed);
  FD_ZERO(&reading);
  FD_SET(closed, &reading);
  result("select of a closed one", select(closed + 1, &reading, NULL, NULL, &limit));
  const struct timespec none = {0, 0};
  result("pselect", pselect(0, NULL, NULL, NULL, &none, NULL));
  result("ppoll, bad timeout", ppoll(list, 1, &(struct timespec){0, -1}, NULL));
  close(fds[0]);
}

static void names(void) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *list = NULL;
  show("getaddrinfo", "%d", getaddrinfo("127.0.0.1", "80", &hints, &list));
  if (list) freeaddrinfo(list);
  show("loopback has an index", "%d", if_nametoindex("lo") > 0);
  result("unknown family", socket(99, SOCK_STREAM, 0));
  result("bad descriptor", bind(open("/dev/null", O_RDONLY), NULL, 0));
  result("accept of a file", accept(open("/dev/null", O_RDONLY), NULL, NULL));
}

int main(int argc, char** argv) {
  (void)argc;
  (void)argv;
  signal(SIGPIPE, SIG_IGN);
  stream(AF_INET, "TCP over IPv4");
  stream(AF_INET6, "TCP over IPv6");
  datagrams();
  passing();
  unix_names();
  epolls();
  polls();
  names();
  return finish();
}
