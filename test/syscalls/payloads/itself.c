// SPDX-License-Identifier: Apache-2.0
// Runs under km only: what the program finds out about itself, and what it must not reach. argv[1]: its own real path.
#include <dirent.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "say.h"

extern char **environ;
static const char *program;
static int failures;

static void check(int good, const char *what) {
  line("%s %s", good ? "ok" : "FAIL", what);
  if (!good) failures++;
}

static char bytes[1 << 20];

static long slurp(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) return -errno;
  long size = 0, n;
  while ((n = read(fd, bytes + size, sizeof bytes - 1 - size)) > 0) size += n;
  bytes[size] = 0;
  close(fd);
  return size;
}

static void links(void) {
  char path[64], text[512] = "";
  const char *names[] = {"/proc/self/exe", "/proc/thread-self/exe", path, "exe"};
  struct stat own, seen;
  stat(program, &own);
  snprintf(path, sizeof path, "/proc/%d/exe", getpid());
  chdir("/proc/self");
  for (int i = 0; i < 4; i++) {
    ssize_t n = readlink(names[i], text, sizeof text - 1);
    check(n == (ssize_t)strlen(program) && memcmp(text, program, n) == 0, "exe link names the program");
    int fd = open(names[i], O_RDONLY);
    check(fd >= 0 && fstat(fd, &seen) == 0 && seen.st_ino == own.st_ino, "exe opens the program");
    close(fd);
    if (i < 3) check(stat(names[i], &seen) == 0 && seen.st_ino == own.st_ino, "stat of exe is the program's");
  }
  check(access("/proc/self/exe", X_OK) == 0, "exe is executable");
  chdir("/tmp");
}

static void texts(char **argv) {
  long n = slurp("/proc/self/cmdline");
  check(n == (long)(strlen(argv[0]) + 1 + strlen(argv[1]) + 1) && strcmp(bytes, argv[0]) == 0, "cmdline");
  n = slurp("/proc/self/auxv");
  unsigned long *auxv = (unsigned long *)bytes, page = 0, random = 0;
  for (; n >= 16 && auxv[0] != AT_NULL; auxv += 2, n -= 16) {
    if (auxv[0] == AT_PAGESZ) page = auxv[1];
    if (auxv[0] == AT_RANDOM) random = auxv[1];
  }
  check(page == getauxval(AT_PAGESZ) && random == getauxval(AT_RANDOM), "auxv");
  unsigned long vector[64] = {0};  // Linux has this since 6.4; under km it does not depend on the host
  RAW(prctl, 0x41555856 /* PR_GET_AUXV */, vector, sizeof vector, 0, 0);
  page = 0;
  for (int i = 0; i + 1 < 64 && vector[i] != AT_NULL; i += 2)
    if (vector[i] == AT_PAGESZ) page = vector[i + 1];
  check(page == getauxval(AT_PAGESZ), "PR_GET_AUXV");
  slurp("/proc/self/comm");
  check(strcmp(bytes, "itself\n") == 0, "comm");
  slurp("/proc/self/status");
  check(strncmp(bytes, "Name:\titself\n", 13) == 0 && strstr(bytes, "VmSize:") != NULL, "status");
  slurp("/proc/self/stat");
  int pid = 0;
  unsigned long size = 0;
  check(sscanf(bytes, "%d (itself) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %*u %lu", &pid, &size) == 2
        && pid == getpid() && size < 1ul << 30, "stat");
  n = slurp("/proc/self/environ");
  check(environ[0] == NULL ? n == 0 : n > 0, "environ");
  struct utsname name;
  uname(&name);
  check(strstr(name.release, ".kontain.K") != NULL, "release says kontain");
}

static int lines_outside(void) {
  int outside = 0;
  for (char *at = bytes; at != NULL && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
    unsigned long start = strtoul(at, NULL, 16);
    char *end = strchr(at, '\n');
    if (end == NULL) break;
    *end = 0;
    if (start >= 0x8000000000ul && strstr(at, "[v") == NULL) outside++;
    *end = '\n';
  }
  return outside;
}

static int lists(const void *address) {
  for (char *at = bytes; at != NULL && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
    unsigned long start = 0, end = 0;
    if (sscanf(at, "%lx-%lx", &start, &end) == 2 && (unsigned long)address >= start && (unsigned long)address < end) return 1;
  }
  return 0;
}

static void maps(void) {
  int local = 0;
  slurp("/proc/self/maps");
  check(lists((void *)maps) && lists(&local) && lists(bytes), "maps list code, stack and data");
  check(strstr(bytes, "[stack]") != NULL && strstr(bytes, program) != NULL, "maps name stack and program");
  check(lines_outside() == 0, "maps show nothing of the monitor");
  slurp("/proc/self/smaps");
  check(lists((void *)maps) && strstr(bytes, "Rss:") != NULL, "smaps");
  slurp("/proc/self/task/self/maps");
  int fd = open("/proc/self/maps", O_RDONLY);
  struct stat st;
  check(fstat(fd, &st) == 0 && S_ISREG(st.st_mode), "maps is a file");
  char first[16], again[16];
  check(read(fd, first, 16) == 16 && lseek(fd, 0, SEEK_SET) == 0 && read(fd, again, 16) == 16
        && memcmp(first, again, 16) == 0, "maps can be read again");
  check(write(fd, "x", 1) == -1 && errno == EBADF, "maps cannot be written");
  close(fd);
}

static void refused(const char *path, int flags, const char *what) {
  int fd = open(path, flags);
  check(fd == -1 && errno == EACCES, what);
  if (fd >= 0) close(fd);
}

static void disguises(void) {
  close(creat("disguise", 0600));
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return;
  if (mount("/proc/self/mem", "disguise", NULL, MS_BIND, NULL) != 0) return;
  refused("disguise", O_RDWR, "memory bind-mounted under another name");
  umount("disguise");
  mkdir("disguises", 0700);
  if (mount("/proc/self", "disguises", NULL, MS_BIND, NULL) != 0) return;
  refused("disguises/mem", O_RDWR, "memory below a bind-mounted directory");
}

static void no_memory(void) {
  char path[64];
  refused("/proc/self/mem", O_RDONLY, "mem for reading");
  refused("/proc/self/mem", O_RDWR, "mem for writing");
  refused("/proc/thread-self/mem", O_RDWR, "mem of the thread");
  snprintf(path, sizeof path, "/proc/self/task/%d/mem", gettid());
  refused(path, O_RDWR, "mem of a task");
  refused("/proc/1/mem", O_RDONLY, "mem of another process");
  refused("/proc/self/pagemap", O_RDONLY, "pagemap");
  refused("/proc/self/map_files", O_RDONLY, "map_files");
  symlink("/proc/self/mem", "memory");
  refused("memory", O_RDWR, "mem through a link");
  int dir = open("/proc/self", O_PATH);
  int fd = openat(dir, "mem", O_RDWR);
  check(fd == -1 && errno == EACCES, "mem relative to a directory");
  struct { uint64_t flags, mode, resolve; } how = {O_RDWR, 0, 0};
  fd = RAW(openat2, dir, "mem", &how, sizeof how);
  check(fd == -1 && errno == EACCES, "mem by openat2");
  fd = openat(dir, "mem", O_PATH);
  check(fd == -1 && errno == EACCES, "mem by O_PATH");
  close(dir);
  in_child("disguises", disguises);
  pid_t child = fork();
  if (child == 0) {
    sleep(5);
    _exit(0);
  }
  snprintf(path, sizeof path, "/proc/%d/mem", child);
  refused(path, O_RDWR, "mem of a child");
  char byte;
  struct { void *base; size_t length; } local = {&byte, 1}, remote = {&byte, 1};
  check(RAW(process_vm_readv, child, &local, 1, &remote, 1, 0) == -1 && errno == EPERM, "process_vm_readv of a child");
  int pidfd = RAW(pidfd_open, child, 0);
  check(RAW(pidfd_getfd, pidfd, 0, 0) == -1 && errno == EPERM, "pidfd_getfd of a child");
  close(pidfd);
  kill(child, SIGKILL);
  wait_for(child);
}

static int listed(const char *path, int most) {
  int count = 0;
  DIR *dir = opendir(path);
  struct dirent *entry;
  while (dir != NULL && (entry = readdir(dir)) != NULL)
    if (entry->d_name[0] != '.' && atoi(entry->d_name) < most) count++;
  if (dir != NULL) closedir(dir);
  return count;
}

static void descriptors(void) {
  char path[64], text[256];
  int open_ones = 0, linked = 0, closed = 0, sent = 0;
  int pair[2];
  socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
  for (int fd = 0; fd < 1600; fd++) {
    if (fd == pair[0] || fd == pair[1]) continue;
    if (fcntl(fd, F_GETFD) >= 0) open_ones++;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (readlink(path, text, sizeof text) >= 0) linked++;
    if (fd > 2 && close(fd) == 0) closed++;
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {text, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    if (fd > 2 && sendmsg(pair[0], &m, MSG_DONTWAIT) >= 0) sent++;
  }
  check(open_ones == 3 && linked == 3, "only the own descriptors exist");
  check(closed == 0 && sent == 0, "no other can be closed or sent");
  close(pair[0]);
  close(pair[1]);
  check(listed("/proc/self/fd", 1 << 30) == 4, "fd directory lists the own ones");
  check(listed("/proc/self/fdinfo", 1 << 30) == 4, "fdinfo directory lists the own ones");
  check(RAW(close_range, 3, ~0u, 0) == 0, "close_range");
  in_child("after close_range", links);
  check(RAW(kcmp, getpid(), getpid(), KCMP_FILE, 0, 1024) != 0, "kcmp of a foreign descriptor");
}

static void devices(void) {
  int fd = open("/dev/kvm", O_RDWR);
  if (fd < 0) return;
  check(ioctl(fd, 0xAE00, 0) == -1 && errno == ENOTTY, "KVM commands are refused");
  check(ioctl(fd, 0xAE01, 0) == -1 && errno == ENOTTY, "KVM commands are refused");
  close(fd);
}

static void outside(void) {
  // The window's end, the middle of the host's user space, the vsyscall page, and addresses that wrap.
  const unsigned long bad[] = {0x7fffe00000, 0x8000000000, 0x7f0000000000, 0x7ffffffff000, 0xffffffffff600000, ~0ul - 8};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct iovec iov = {(void *)bad[i], 16};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    int good = 1;
    good &= write(1, (void *)bad[i], 16) == -1 && errno == EFAULT;
    good &= RAW(writev, 1, &iov, 1) == -1 && errno == EFAULT;
    good &= RAW(writev, 1, bad[i], 1) == -1 && errno == EFAULT;
    good &= RAW(sendmsg, 1, &m, 0) == -1;
    good &= RAW(openat, AT_FDCWD, bad[i], O_RDONLY) == -1 && errno == EFAULT;
    good &= RAW(getrandom, bad[i], 16, 0) == -1 && errno == EFAULT;
    good &= RAW(futex, bad[i] & ~3ul, 1, 1, 0, 0, 0) == -1 && errno == EFAULT;
    good &= RAW(nanosleep, bad[i], 0) == -1 && errno == EFAULT;
    good &= RAW(uname, bad[i]) == -1 && errno == EFAULT;
    good &= RAW(ioctl, 1, TIOCGWINSZ, bad[i]) == -1 && (errno == EFAULT || errno == ENOTTY);
    good &= RAW(mprotect, bad[i] & ~4095ul, 4096, PROT_NONE) == -1;
    RAW(munmap, bad[i] & ~4095ul, 4096);
    good &= RAW(mmap, bad[i] & ~4095ul, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == -1;
    check(good, "addresses outside are refused");
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return 99;
  program = argv[1];
  close_range(3, ~0u, 0);
  links();
  texts(argv);
  maps();
  no_memory();
  descriptors();
  devices();
  outside();
  line("%d failures", failures);
  return failures != 0;
}
