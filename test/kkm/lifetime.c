// SPDX-License-Identifier: Apache-2.0
/* Death in every order: nobody outlives the monitor, nothing hangs, nothing leaks. */
#define _GNU_SOURCE
#include "machine.h"

#include <dirent.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define STORM 3000

GUEST(g_spin, "1: jmp 1b");
GUEST(g_syscalls, "1: syscall; jmp 1b");

static void *spin(void *arg) {
  struct vcpu *v = arg;

  while (ioctl(v->fd, KVM_RUN, 0) == 0)
    ;
  return NULL;
}

/* A monitor with two guests running; tells through fd when they are. */
static void monitor(int ready, const char *code, const char *end) {
  static struct machine m;
  static struct vcpu v[2];
  pthread_t t;

  machine_make(&m);
  for (int i = 0; i < 2; i++) {
    vcpu_make(&v[i], &m, i);
    vcpu_code(&v[i], GUEST_BASE, code, end);
    vcpu_start(&v[i], GUEST_BASE);
    pthread_create(&t, NULL, spin, &v[i]);
  }
  usleep(100000);
  if (write(ready, &m.companion, sizeof(m.companion)) != sizeof(m.companion))
    _exit(1);
  pause();
  _exit(0);
}

static pid_t start_monitor(const char *code, const char *end, pid_t *companion) {
  int pipes[2];
  pid_t pid;

  if (pipe(pipes))
    die("pipe");
  pid = fork();
  if (pid == 0)
    monitor(pipes[1], code, end);
  close(pipes[1]);
  if (read(pipes[0], companion, sizeof(*companion)) != sizeof(*companion))
    die("monitor");
  close(pipes[0]);
  return pid;
}

static void test_monitor_killed(const char *code, const char *end, int sig) {
  pid_t companion, pid = start_monitor(code, end, &companion);

  CHECK(kill(companion, 0) == 0 && others() >= 2, "companion is there");
  kill(pid, sig);
  waitpid(pid, NULL, 0);
  CHECK(all_gone(), "monitor killed by %d: all gone", sig);
}

/* The machine of the next tests, in this process. */
static struct machine machine;
static struct vcpu cpu;

static void make(const char *code, const char *end) {
  machine_make(&machine);
  vcpu_make(&cpu, &machine, 0);
  vcpu_code(&cpu, GUEST_BASE, code, end);
  vcpu_start(&cpu, GUEST_BASE);
}

static void *kill_later(void *arg) {
  usleep(200000);
  kill(machine.companion, (int)(intptr_t)arg);
  return NULL;
}

static void test_companion_killed(int sig) {
  struct kvm_xsave x;
  pthread_t t;
  int r;

  make(g_spin, g_spin_end);
  pthread_create(&t, NULL, kill_later, (void *)(intptr_t)sig);
  r = vcpu_run(&cpu);
  pthread_join(t, NULL);
  CHECK(r == -EIO && cpu.run->exit_reason == KVM_EXIT_SHUTDOWN, "companion killed by %d in the guest: r %d reason %d",
        sig, r, cpu.run->exit_reason);
  CHECK(vcpu_run(&cpu) == -EIO, "and it stays dead");
  CHECK(ioctl(cpu.fd, KVM_GET_XSAVE, &x) < 0 && errno == EIO, "no vector state of the dead: %s", strerror(errno));
  CHECK(ioctl(machine.vm, KVM_CREATE_VCPU, 1) < 0 && errno == EIO, "no new vCPU");
  vcpu_end(&cpu);
  machine_end(&machine);
  CHECK(all_gone(), "all gone");
}

static void test_companion_killed_parked(void) {
  make(g_syscalls, g_syscalls_end);
  CHECK(vcpu_run(&cpu) == 0, "runs");
  kill(machine.companion, SIGKILL);
  usleep(100000);
  CHECK(vcpu_run(&cpu) == -EIO, "companion killed while parked");
  vcpu_end(&cpu);
  machine_end(&machine);
  CHECK(all_gone(), "all gone");
}

/* The first thread of the companion that is not its leader: a guest thread. */
static pid_t guest_thread(pid_t companion) {
  char path[64];
  struct dirent *e;
  pid_t found = 0;
  DIR *dir;

  snprintf(path, sizeof(path), "/proc/%d/task", companion);
  dir = opendir(path);
  while (dir && (e = readdir(dir)) != NULL)
    if (atoi(e->d_name) > 0 && atoi(e->d_name) != companion)
      found = atoi(e->d_name);
  if (dir)
    closedir(dir);
  return found;
}

struct shot {
  pid_t thread;
  int sig, result;
};

static void *shoot_thread(void *arg) {
  struct shot *shot = arg;

  usleep(200000);
  shot->thread = guest_thread(machine.companion);
  shot->result = syscall(SYS_tgkill, machine.companion, shot->thread, shot->sig);
  if (shot->sig != SIGKILL) {  /* that does not end the run; this does */
    usleep(200000);
    kill(machine.companion, SIGKILL);
  }
  return NULL;
}

/* A guest thread killed by its own number, while the guest computes: the machine is gone, the monitor learns it. */
static void test_guest_thread_killed(int sig) {
  struct shot shot = {.sig = sig};
  pthread_t t;
  int r;

  make(g_spin, g_spin_end);
  pthread_create(&t, NULL, shoot_thread, &shot);
  r = vcpu_run(&cpu);
  pthread_join(t, NULL);
  CHECK(shot.thread > 0 && shot.result == 0, "a guest thread was there to be shot: %d", shot.thread);
  CHECK(r == -EIO && cpu.run->exit_reason == KVM_EXIT_SHUTDOWN, "guest thread killed by %d: r %d reason %d", sig, r,
        cpu.run->exit_reason);
  vcpu_end(&cpu);
  machine_end(&machine);
  CHECK(all_gone(), "all gone");
}

/* Signals from another process of the same user. One that looks like a fault is not one. */
static void test_foreign_signals(void) {
  static const int signals[] = {SIGSEGV, SIGILL, SIGTRAP, SIGSYS, SIGUSR1, SIGTERM, SIGINT, SIGHUP};
  int r = 0, exits = 0;

  for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
    make(g_syscalls, g_syscalls_end);
    for (exits = 0; exits < 200; exits++) {
      if (exits % 20 == 10)
        kill(machine.companion, signals[i]);
      r = vcpu_run(&cpu);
      if (r || !is_syscall(&cpu, 0))
        break;
    }
    CHECK(r == 0 && exits == 200, "foreign signal %d: r %d after %d exits, reason %x", signals[i], r,
          exits, cpu.run->exit_reason);
    vcpu_end(&cpu);
    machine_end(&machine);
  }
  CHECK(all_gone(), "all gone");
}

struct storm {
  int sig, shots;
};

/* Signals at a guest that computes, each at whatever instant; then the end of the run. */
static void *shoot_often(void *arg) {
  struct storm *storm = arg;
  pid_t thread;

  usleep(100000);
  thread = guest_thread(machine.companion);
  for (int i = 0; i < STORM; i++) {
    if (syscall(SYS_tgkill, machine.companion, thread, storm->sig) == 0)
      storm->shots++;
    for (volatile int wait = rand() % 2000; wait > 0; wait--)
      ;
  }
  kill(machine.companion, SIGKILL);
  return NULL;
}

/*
 * The guest has nothing to do with them, also when one comes in the instant
 * between Linux's look at the works and its delivery.
 */
static void test_signal_storm(int sig) {
  struct storm storm = {.sig = sig};
  pthread_t t;
  int r;

  make(g_spin, g_spin_end);
  pthread_create(&t, NULL, shoot_often, &storm);
  r = vcpu_run(&cpu);
  pthread_join(t, NULL);
  CHECK(r == -EIO && storm.shots == STORM, "storm of signal %d: r %d reason %d rip %llx after %d of them", sig, r,
        cpu.run->exit_reason, cpu.regs.rip, storm.shots);
  vcpu_end(&cpu);
  machine_end(&machine);
}

static void test_signal_storms(void) {
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS};

  for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
    test_signal_storm(signals[i]);
  CHECK(all_gone(), "all gone");
}

static void close_one(int which) {
  if (which == 0)
    close(cpu.fd);
  if (which == 1)
    close(machine.vm);
  if (which == 2)
    close(machine.dev);
  if (which == 3)
    munmap(cpu.run, 2 * PAGE);
}

/* Every order of closing the vCPU, the machine, the device, and unmapping the run page. */
static void test_close_orders(void) {
  for (int n = 0; n < 256; n++) {
    int order[4] = {n & 3, (n >> 2) & 3, (n >> 4) & 3, (n >> 6) & 3};

    if ((1 << order[0] | 1 << order[1] | 1 << order[2] | 1 << order[3]) != 15)
      continue;
    make(g_syscalls, g_syscalls_end);
    CHECK(vcpu_run(&cpu) == 0, "runs");
    for (int i = 0; i < 4; i++) {
      close_one(order[i]);
      if (i == 0 && order[0] == 1)
        CHECK(ioctl(cpu.fd, KVM_RUN, 0) == 0, "a vCPU keeps its machine, as in KVM");
    }
    CHECK(waitpid(machine.companion, NULL, __WALL) == machine.companion, "order %d: the companion ends", n);
    munmap(machine.mem, machine.size);
  }
  CHECK(all_gone(), "all gone");
}

/* A machine nobody ran, one without a companion, one without a vCPU. */
static void test_unborn(void) {
  struct machine m;
  int fd;

  machine_open(&m);
  machine_end(&m);
  machine_open(&m);
  fd = ioctl(m.vm, KVM_CREATE_VCPU, 0);
  close(m.vm);
  close(fd);
  close(m.dev);
  machine_make(&m);
  machine_end(&m);
  CHECK(all_gone(), "unborn machines end");
}

static void *run_once(void *arg) {
  return (void *)(intptr_t)vcpu_run(arg);
}

/* KVM_RUN before there is a companion waits for it, and can be interrupted. */
static void test_late_companion(void) {
  void *result;
  pthread_t t;

  machine_open(&machine);
  machine.size = GUEST_SIZE;
  machine.mem = mmap(NULL, machine.size, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  machine_slot(&machine, 0, 0, GUEST_BASE, machine.size, machine.mem);
  vcpu_make(&cpu, &machine, 0);
  vcpu_code(&cpu, GUEST_BASE, g_syscalls, g_syscalls_end);
  vcpu_start(&cpu, GUEST_BASE);
  pthread_create(&t, NULL, run_once, &cpu);
  usleep(100000);
  machine.companion = machine_birth(machine.vm);
  pthread_join(t, &result);
  CHECK(result == NULL && is_syscall(&cpu, 0), "companion born after KVM_RUN: %ld", (long)result);
  vcpu_end(&cpu);
  machine_end(&machine);
}

/* The guest area is larger than any limit on address space (`ulimit -v`). */
static void test_limited_addresses(void) {
  struct rlimit before, limit;

  getrlimit(RLIMIT_AS, &before);
  limit = before;
  limit.rlim_cur = 1ul << 33;
  setrlimit(RLIMIT_AS, &limit);
  make(g_syscalls, g_syscalls_end);
  CHECK(vcpu_run(&cpu) == 0, "runs under a limit on address space");
  vcpu_end(&cpu);
  machine_end(&machine);
  setrlimit(RLIMIT_AS, &before);
}

/* What may become a companion: a fresh child without rseq, once. */
static void test_bad_companions(void) {
  int status;
  pid_t pid;

  machine_open(&machine);
  CHECK(ioctl(machine.vm, KKM_SPACE_INIT, machine.vm) < 0 && errno == EINVAL, "the monitor itself: %s",
        strerror(errno));
  pid = fork();
  if (pid == 0)
    _exit(ioctl(machine.vm, KKM_SPACE_INIT, machine.vm) < 0 ? errno : 0);
  waitpid(pid, &status, 0);
  CHECK(WEXITSTATUS(status) == EPERM, "a child that may gain privileges: %d", WEXITSTATUS(status));
  pid = fork();
  if (pid == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    _exit(ioctl(machine.vm, KKM_SPACE_INIT, machine.vm) < 0 ? errno : 0);
  }
  waitpid(pid, &status, 0);
  CHECK(WEXITSTATUS(status) == EBUSY || WEXITSTATUS(status) == 0, "a child with rseq: %d", WEXITSTATUS(status));
  pid = fork();
  if (pid == 0) {
    pid_t grandchild = machine_birth(machine.vm);

    waitpid(grandchild, &status, __WALL);
    _exit(WEXITSTATUS(status));
  }
  waitpid(pid, &status, 0);
  CHECK(WEXITSTATUS(status) == 100 + EPERM, "a grandchild: %d", WEXITSTATUS(status));
  machine.companion = machine_birth(machine.vm);
  usleep(100000);
  pid = machine_birth(machine.vm);
  waitpid(pid, &status, __WALL);
  CHECK(WEXITSTATUS(status) == 100 + EBUSY, "a second companion: %d", WEXITSTATUS(status));
  machine_end(&machine);
  CHECK(all_gone(), "all gone");
}

static void send_fd(int sock, int fd) {
  char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec iov = {&byte, 1};
  struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof(int));
  if (sendmsg(sock, &msg, 0) != 1)
    die("sendmsg");
}

static int receive_fd(int sock) {
  char byte, control[CMSG_SPACE(sizeof(int))];
  struct iovec iov = {&byte, 1};
  struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  int fd = -1;

  if (recvmsg(sock, &msg, 0) == 1)
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
  return fd;
}

/* Another process with the descriptors can do nothing, and holding them keeps nobody alive. */
static void test_passed(void) {
  int pair[2], status;
  pid_t pid;

  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
    die("socketpair");
  pid = fork();
  if (pid == 0) {
    int vm = receive_fd(pair[1]), vcpu = receive_fd(pair[1]), bad = 0;
    char byte;

    bad |= ioctl(vcpu, KVM_RUN, 0) == 0 || errno != EIO;
    bad |= ioctl(vm, KVM_CREATE_VCPU, 5) >= 0 || errno != EIO;
    bad |= read(pair[1], &byte, 1) != 1;  /* until the monitor is gone */
    usleep(100000);
    _exit(bad);
  }
  make(g_syscalls, g_syscalls_end);
  send_fd(pair[0], machine.vm);
  send_fd(pair[0], cpu.fd);
  CHECK(vcpu_run(&cpu) == 0, "the owner runs");
  vcpu_end(&cpu);
  close(machine.vm);
  close(machine.dev);
  CHECK(kill(machine.companion, 0) == 0, "the machine lives while someone holds it");
  if (write(pair[0], "x", 1) != 1)
    die("write");
  waitpid(pid, &status, 0);
  CHECK(status == 0, "a passed descriptor is of no use");
  CHECK(waitpid(machine.companion, NULL, __WALL) == machine.companion, "the last holder ends it");
  munmap(machine.mem, machine.size);
  close(pair[0]);
  close(pair[1]);
}

/* The monitor execs: its memory is gone, so is the guest, though a child holds the files. */
static void test_exec(void) {
  int before[2];
  char byte;
  pid_t pid;

  if (pipe2(before, O_CLOEXEC))
    die("pipe2");
  pid = fork();
  if (pid == 0) {
    make(g_syscalls, g_syscalls_end);
    vcpu_run(&cpu);
    fcntl(machine.vm, F_SETFD, 0);
    fcntl(cpu.fd, F_SETFD, 0);
    execl("/bin/sleep", "sleep", "600", NULL);
    if (write(before[1], "x", 1) != 1)
      _exit(2);
    _exit(1);
  }
  close(before[1]);
  CHECK(read(before[0], &byte, 1) == 0, "the monitor execs");
  CHECK(all_gone(), "exec of the monitor ends the companion: %d left", others());
  CHECK(waitpid(pid, NULL, WNOHANG) == 0, "while what it became goes on");
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  close(before[0]);
}

/* A fork of the monitor makes a machine of its own over the copied memory. */
static void test_fork(void) {
  int status;
  pid_t pid;

  make(g_syscalls, g_syscalls_end);
  vcpu_run(&cpu);
  pid = fork();
  if (pid == 0) {
    struct machine m;
    struct vcpu v;

    close(machine.vm);
    close(cpu.fd);
    machine_open(&m);
    machine_slot(&m, 0, 0, GUEST_BASE, machine.size, machine.mem);
    m.mem = machine.mem;
    m.size = machine.size;
    m.companion = machine_birth(m.vm);
    vcpu_make(&v, &m, 0);
    vcpu_start(&v, GUEST_BASE);
    status = vcpu_run(&v) == 0 && is_syscall(&v, 0) ? 0 : 1;
    vcpu_end(&v);
    machine_end(&m);
    _exit(status);
  }
  for (int i = 0; i < 50; i++)
    CHECK(vcpu_run(&cpu) == 0, "the parent runs on");
  waitpid(pid, &status, 0);
  CHECK(status == 0, "the child runs its own");
  vcpu_end(&cpu);
  machine_end(&machine);
  CHECK(all_gone(), "all gone");
}

/* A child that neither execs nor makes a machine: the descriptors it inherited are dead weight, and keep nobody alive. */
static void test_idle_child(void) {
  int done[2], status;
  pid_t pid, holder = 0;
  char byte;

  if (pipe(done))
    die("pipe");
  pid = fork();
  if (pid == 0) {
    int bad = 0;

    make(g_syscalls, g_syscalls_end);
    bad |= vcpu_run(&cpu) != 0;
    holder = fork();
    if (holder == 0) {
      bad = ioctl(cpu.fd, KVM_RUN, 0) == 0 || errno != EIO;
      bad |= (ioctl(machine.vm, KVM_CREATE_VCPU, 3) >= 0 || errno != EIO) << 1;
      bad |= (machine_slot(&machine, 1, 0, 0x40000000, PAGE, machine.mem) != -EIO) << 2;
      bad |= (ioctl(machine.dev, KKM_GET_IDENTITY, 0) != KKM_IDENTITY) << 3;  /* the device is anybody's */
      for (int i = 0; i < 200 && others() > 1; i++)
        usleep(50000);
      bad |= (others() > 1) << 4;  /* the companion is gone with its monitor, though we hold its files */
      bad |= (ioctl(cpu.fd, KVM_RUN, 0) == 0 || errno != EIO) << 5;
      byte = (char)bad;
      _exit(write(done[1], &byte, 1) != 1);
    }
    for (int i = 0; i < 20; i++)
      bad |= vcpu_run(&cpu) != 0;  /* beside its child */
    usleep(100000);
    _exit(bad);
  }
  waitpid(pid, &status, 0);
  CHECK(status == 0, "a monitor with an idle child: status %x", status);
  CHECK(read(done[0], &byte, 1) == 1 && byte == 0, "what the child saw: bits %x are wrong", byte);
  close(done[0]);
  close(done[1]);
  CHECK(all_gone(), "all gone");
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  test_monitor_killed(g_spin, g_spin_end, SIGKILL);
  test_monitor_killed(g_syscalls, g_syscalls_end, SIGKILL);
  test_monitor_killed(g_spin, g_spin_end, SIGSEGV);
  test_companion_killed(SIGKILL);
  test_companion_killed_parked();
  test_guest_thread_killed(SIGKILL);
  test_guest_thread_killed(SIGSEGV);
  test_foreign_signals();
  test_signal_storms();
  test_close_orders();
  test_unborn();
  test_late_companion();
  test_limited_addresses();
  test_bad_companions();
  test_passed();
  test_exec();
  test_fork();
  test_idle_child();
  return report();
}
