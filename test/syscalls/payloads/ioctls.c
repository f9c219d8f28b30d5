// SPDX-License-Identifier: Apache-2.0
// ioctl(2) on what is not a socket: each command on a descriptor it is made for.
#include <asm/termbits.h>
#include <linux/blkpg.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/loop.h>
#include <linux/nsfs.h>
#include <linux/random.h>
#include <linux/rtc.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/poll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "newer.h"
#include "say.h"

// Younger than Debian 12's headers.
#ifndef FS_IOC_GETFSUUID
#define FS_IOC_GETFSUUID 0x80111500
#define FS_IOC_GETFSSYSFSPATH 0x80811501
#endif
#define EPIOCSPARAMS 0x40088a01
#define EPIOCGPARAMS 0x80088a02
#define TFD_IOC_SET_TICKS 0x40085400  // sys/timerfd.h has it in the kernel's copy only

static const void *const kNoMemory = (void *)8;

static void settings(int slave) {
  struct termios old;
  struct termios2 two;
  struct termio sysv;
  COMMAND(slave, TCGETS, &old);
  old.c_lflag &= ~ECHO;
  COMMAND(slave, TCSETS, &old);
  COMMAND(slave, TCSETSW, &old);
  COMMAND(slave, TCSETSF, &old);
  COMMAND(slave, TCGETS2, &two);
  line("echo %d speed %u", !!(two.c_lflag & ECHO), two.c_ospeed);
  two.c_lflag |= ECHO;
  COMMAND(slave, TCSETS2, &two);
  COMMAND(slave, TCSETSW2, &two);
  COMMAND(slave, TCSETSF2, &two);
  COMMAND(slave, TCGETA, &sysv);
  line("echo %d", !!(sysv.c_lflag & ECHO));
  sysv.c_lflag &= ~ECHO;
  COMMAND(slave, TCSETA, &sysv);
  COMMAND(slave, TCSETAW, &sysv);
  COMMAND(slave, TCSETAF, &sysv);
  COMMAND(slave, TIOCGLCKTRMIOS, &old);
  COMMAND(slave, TIOCSLCKTRMIOS, &old);
  int carrier = -1;
  COMMAND(slave, TIOCGSOFTCAR, &carrier);
  COMMAND(slave, TIOCSSOFTCAR, &carrier);
  line("carrier %d", carrier);
}

static void line_control(int master, int slave) {
  int value = -1;
  struct serial_icounter_struct *no_counters = NULL;
  COMMAND(slave, TCSBRK, 1);
  COMMAND(slave, TCSBRKP, 0);
  COMMAND(slave, TIOCSBRK, 0);
  COMMAND(slave, TIOCCBRK, 0);
  COMMAND(slave, TCXONC, 1);
  COMMAND(slave, TCFLSH, 2);
  COMMAND(slave, TIOCEXCL, 0);
  COMMAND(slave, TIOCGEXCL, &value);
  line("exclusive %d", value);
  COMMAND(slave, TIOCNXCL, 0);
  write(master, "typed\n", 6);
  poll(&(struct pollfd){slave, POLLIN, 0}, 1, 10000);
  COMMAND(slave, TIOCOUTQ, &value);
  COMMAND(slave, FIONREAD, &value);
  line("waiting %d", value);
  COMMAND(slave, TIOCMGET, &value);
  COMMAND(slave, TIOCMBIS, &value);
  COMMAND(slave, TIOCMBIC, &value);
  COMMAND(slave, TIOCMSET, &value);
  COMMAND(slave, TIOCGICOUNT, no_counters);
  COMMAND(slave, TIOCGETD, &value);
  line("discipline %d", value);
  COMMAND(slave, TIOCSETD, &value);
  COMMAND_OK(slave, TIOCGDEV, &value);
  value = 1;
  COMMAND(master, TIOCPKT, &value);
  COMMAND(master, TIOCGPKT, &value);
  line("packets %d", value);
  COMMAND(master, TIOCGPTLCK, &value);
  line("locked %d", value);
}

static void terminals(void) {
  int unlock = 0, group = -1, session = -1, own = getpid();
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  COMMAND(master, TIOCSPTLCK, &unlock);
  int slave = COMMAND(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
  signal(SIGHUP, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  setsid();
  COMMAND(slave, TIOCSCTTY, 0);
  COMMAND(slave, TIOCGPGRP, &group);
  COMMAND(slave, TIOCGSID, &session);
  line("own %d %d", group == own, session == own);
  COMMAND(slave, TIOCSPGRP, &group);
  COMMAND(master, TIOCSIG, SIGINT);
  COMMAND(master, TIOCSIG, 4711);
  settings(slave);
  line_control(master, slave);
  COMMAND(slave, FIOASYNC, &unlock);
  COMMAND(slave, FIOCLEX, 0);
  COMMAND(slave, FIONCLEX, 0);
  line("flags %d", fcntl(slave, F_GETFD));
  COMMAND(slave, TIOCNOTTY, 0);
  COMMAND(slave, TIOCGSID, &session);
}

static void sharing(int to, int from) {
  struct file_clone_range range = {.src_fd = from};
  struct { struct file_dedupe_range head; struct file_dedupe_range_info to; } same = {
      {.src_length = 4096, .dest_count = 1}, {.dest_fd = to}};
  COMMAND(to, FICLONE, from);
  COMMAND(to, FICLONERANGE, &range);
  range.src_fd = 99;
  COMMAND(to, FICLONERANGE, &range);
  COMMAND(from, FIDEDUPERANGE, &same);
}

static void files(void) {
  static char text[256];
  int fd = open("file", O_RDWR | O_CREAT, 0600), other = open("other", O_RDWR | O_CREAT, 0600), number = 0;
  loff_t size = 0;
  struct fsxattr attributes;
  struct fiemap map = {.fm_length = ~0ull};
  for (int i = 0; i < 64; i++) write(fd, text, sizeof text);
  COMMAND(fd, FIOQSIZE, &size);
  COMMAND(fd, FIGETBSZ, &number);
  line("block %d", number);
  number = 0;
  COMMAND_OK(fd, FIBMAP, &number);
  if (COMMAND(fd, FS_IOC_GETFLAGS, &number) == 0) COMMAND(fd, FS_IOC_SETFLAGS, &number);
  else COMMAND(fd, FS_IOC_SETFLAGS, kNoMemory);
  COMMAND(fd, FS_IOC_GETVERSION, &number);
  COMMAND(fd, FS_IOC_SETVERSION, &number);
  if (COMMAND(fd, FS_IOC_FSGETXATTR, &attributes) == 0) COMMAND(fd, FS_IOC_FSSETXATTR, &attributes);
  else COMMAND(fd, FS_IOC_FSSETXATTR, kNoMemory);
  COMMAND(fd, FS_IOC_FIEMAP, &map);
  COMMAND_OK(fd, FS_IOC_GETFSLABEL, text);
  COMMAND_OK(fd, FS_IOC_GETFSUUID, text);
  COMMAND_OK(fd, FS_IOC_GETFSSYSFSPATH, text);
  // These change the whole file system: asked for without saying what.
  COMMAND(fd, FS_IOC_SETFSLABEL, kNoMemory);
  COMMAND(fd, FITRIM, kNoMemory);
  sharing(other, fd);
  close(fd);
  close(other);
}

/// A block device over `file` that goes when it is closed; `file` itself where there is none to be had: its commands
/// change the device, so it must be nobody else's.
static int block_device(int file) {
  int control = open("/dev/loop-control", O_RDWR);
  for (int tries = 0; tries < 50; tries++) {
    char name[32];
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    snprintf(name, sizeof name, "/dev/loop%d", number);
    int device = number < 0 ? -1 : open(name, O_RDWR);
    if (device >= 0 && ioctl(device, LOOP_SET_FD, file) == 0) {
      struct loop_info64 info = {.lo_flags = LO_FLAGS_AUTOCLEAR};
      COMMAND(device, LOOP_SET_STATUS64, &info);
      close(control);
      return device;
    }
    if (device < 0 || errno != EBUSY) break;
    close(device);  // somebody was faster
  }
  COMMAND_OK(file, LOOP_CTL_GET_FREE, 0);
  COMMAND(file, LOOP_SET_FD, file);
  COMMAND(file, LOOP_SET_STATUS64, kNoMemory);
  return file;
}

static void block_devices(void) {
  int file = open("image", O_RDWR | O_CREAT, 0600), number = 0;
  ftruncate(file, 1 << 20);
  int device = block_device(file);
  struct loop_info64 info = {0};
  unsigned long sectors = 0, ahead = 0;
  uint64_t bytes = 0, range[2] = {0, 65536};
  struct hd_geometry geometry;
  COMMAND(device, LOOP_GET_STATUS64, &info);
  line("flags %x", info.lo_flags);
  COMMAND(device, BLKGETSIZE, &sectors);
  COMMAND(device, BLKGETSIZE64, &bytes);
  line("sectors %lu bytes %lu", sectors, bytes);
  COMMAND(device, BLKSSZGET, &number);
  line("sector %d", number);
  COMMAND(device, BLKPBSZGET, &number);
  COMMAND(device, BLKBSZGET, &number);
  COMMAND(device, BLKIOMIN, &number);
  COMMAND(device, BLKIOOPT, &number);
  COMMAND(device, BLKALIGNOFF, &number);
  COMMAND(device, BLKDISCARDZEROES, &number);
  COMMAND(device, BLKSECTGET, &number);
  COMMAND(device, BLKROTATIONAL, &number);
  COMMAND(device, BLKRAGET, &ahead);
  COMMAND(device, BLKRASET, ahead);
  number = 1;
  COMMAND(device, BLKROSET, &number);
  COMMAND(device, BLKROGET, &number);
  line("read only %d", number);
  number = 0;
  COMMAND(device, BLKROSET, &number);
  COMMAND(device, BLKFLSBUF, 0);
  COMMAND(device, BLKRRPART, 0);
  COMMAND(device, BLKZEROOUT, range);
  COMMAND_OK(device, BLKDISCARD, range);
  COMMAND(device, HDIO_GETGEO, &geometry);
  COMMAND(device, LOOP_CLR_FD, 0);
  close(device);
  close(file);
}

static void kernel_objects(void) {
  uint64_t ticks = 3;
  char parameters[8] = "";
  int number = -1;
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  COMMAND(timer, TFD_IOC_SET_TICKS, &ticks);
  ticks = 0;
  DO(read, timer, &ticks, 8);
  line("ticks %lu", ticks);
  int set = epoll_create1(0);
  COMMAND(set, EPIOCGPARAMS, parameters);
  COMMAND(set, EPIOCSPARAMS, parameters);
  int space = open("/proc/self/ns/pid", O_RDONLY), users = open("/proc/self/ns/user", O_RDONLY);
  COMMAND_OK(space, NS_GET_USERNS, 0);
  COMMAND_OK(space, NS_GET_PARENT, 0);
  COMMAND(space, NS_GET_NSTYPE, 0);
  COMMAND(users, NS_GET_OWNER_UID, &number);
  line("owner %d", number);
  int random = open("/dev/random", O_RDONLY), clock = open("/dev/rtc", O_RDONLY);
  COMMAND(random, RNDGETENTCNT, &number);
  line("entropy %d", number > 0);
  struct rtc_time now;
  COMMAND_OK(clock, RTC_RD_TIME, &now);
}

int main(void) {
  close_range(3, ~0u, 0);
  in_child("terminals", terminals);
  files();
  block_devices();
  in_child("kernel objects", kernel_objects);
  return 0;
}
