// SPDX-License-Identifier: Apache-2.0
#include "native/syscalls/ioctl_table.h"

#include <linux/blkpg.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/loop.h>
#include <linux/nsfs.h>
#include <linux/random.h>
#include <linux/rtc.h>
#include <linux/sockios.h>
#include <linux/fiemap.h>
#include <asm/ioctls.h>
#include <asm/termbits.h>

// Younger than Debian 12's headers (linux/fs.h, linux/eventpoll.h, linux/pidfd.h).
#ifndef FS_IOC_GETFSUUID
#define FS_IOC_GETFSUUID 0x80111500
#endif
#ifndef FS_IOC_GETFSSYSFSPATH
#define FS_IOC_GETFSSYSFSPATH 0x80811501
#endif
#define EPIOCSPARAMS 0x40088a01
#define EPIOCGPARAMS 0x80088a02

namespace km {
namespace {

#define COMMAND(name, arg) {static_cast<uint32_t>(name), #name, IoctlArg::arg}

// Not here on purpose: TIOCSTI and TIOCLINUX (type into the terminal of whoever started km), TUN and vhost (attach host
// devices and memory), KVM and userfaultfd (open devices, but every command is refused), SIOCETHTOOL and
// SIOCDEVPRIVATE (addresses inside, driver-specific), what Linux knows by name and refuses to everybody (SIOCSIFLINK,
// SIOCGIFCOUNT, SIOCGIFSLAVE, SIOCGIFPFLAGS).
constexpr IoctlCommand kCommands[] = {
    // Terminals: ioctl_tty(2)
    COMMAND(TCGETS, kMemory), COMMAND(TCSETS, kMemory), COMMAND(TCSETSW, kMemory), COMMAND(TCSETSF, kMemory),
    COMMAND(TCGETA, kMemory), COMMAND(TCSETA, kMemory), COMMAND(TCSETAW, kMemory), COMMAND(TCSETAF, kMemory),
    COMMAND(TCGETS2, kMemory), COMMAND(TCSETS2, kMemory), COMMAND(TCSETSW2, kMemory), COMMAND(TCSETSF2, kMemory),
    COMMAND(TCSBRK, kNumber), COMMAND(TCSBRKP, kNumber), COMMAND(TCXONC, kNumber), COMMAND(TCFLSH, kNumber),
    COMMAND(TIOCEXCL, kNone), COMMAND(TIOCNXCL, kNone), COMMAND(TIOCSCTTY, kNumber), COMMAND(TIOCNOTTY, kNone),
    COMMAND(TIOCGPGRP, kMemory), COMMAND(TIOCSPGRP, kMemory), COMMAND(TIOCGSID, kMemory),
    COMMAND(TIOCOUTQ, kMemory), COMMAND(FIONREAD, kMemory), COMMAND(TIOCGWINSZ, kMemory), COMMAND(TIOCSWINSZ, kMemory),
    COMMAND(TIOCMGET, kMemory), COMMAND(TIOCMBIS, kMemory), COMMAND(TIOCMBIC, kMemory), COMMAND(TIOCMSET, kMemory),
    COMMAND(TIOCGSOFTCAR, kMemory), COMMAND(TIOCSSOFTCAR, kMemory), COMMAND(TIOCPKT, kMemory),
    COMMAND(TIOCSETD, kMemory), COMMAND(TIOCGETD, kMemory), COMMAND(TIOCSBRK, kNone), COMMAND(TIOCCBRK, kNone),
    COMMAND(TIOCGPTN, kMemory), COMMAND(TIOCSPTLCK, kMemory), COMMAND(TIOCGPTLCK, kMemory), COMMAND(TIOCGPKT, kMemory),
    COMMAND(TIOCGDEV, kMemory), COMMAND(TIOCSIG, kNumber), COMMAND(TIOCGEXCL, kMemory), COMMAND(TIOCGPTPEER, kNumber),
    COMMAND(TIOCGLCKTRMIOS, kMemory), COMMAND(TIOCSLCKTRMIOS, kMemory), COMMAND(TIOCGICOUNT, kMemory),
    // Any descriptor
    COMMAND(FIONBIO, kMemory), COMMAND(FIOASYNC, kMemory), COMMAND(FIOCLEX, kNone), COMMAND(FIONCLEX, kNone),
    COMMAND(FIOQSIZE, kMemory), COMMAND(FIOSETOWN, kMemory), COMMAND(FIOGETOWN, kMemory),
    // Sockets: netdevice(7), socket(7), arp(7)
    COMMAND(SIOCATMARK, kMemory), COMMAND(SIOCSPGRP, kMemory), COMMAND(SIOCGPGRP, kMemory),
    COMMAND(SIOCGSTAMP_OLD, kMemory), COMMAND(SIOCGSTAMPNS_OLD, kMemory), {0x80108906, "SIOCGSTAMP", IoctlArg::kMemory},
    {0x80108907, "SIOCGSTAMPNS", IoctlArg::kMemory}, COMMAND(SIOCOUTQNSD, kMemory), COMMAND(SIOCGSKNS, kNone),
    COMMAND(SIOCGIFCONF, kIfConf), COMMAND(SIOCADDRT, kRoute), COMMAND(SIOCDELRT, kRoute),
    COMMAND(SIOCGIFNAME, kMemory), COMMAND(SIOCGIFFLAGS, kMemory), COMMAND(SIOCSIFFLAGS, kMemory),
    COMMAND(SIOCGIFADDR, kMemory), COMMAND(SIOCSIFADDR, kMemory), COMMAND(SIOCGIFDSTADDR, kMemory),
    COMMAND(SIOCSIFDSTADDR, kMemory), COMMAND(SIOCGIFBRDADDR, kMemory), COMMAND(SIOCSIFBRDADDR, kMemory),
    COMMAND(SIOCGIFNETMASK, kMemory), COMMAND(SIOCSIFNETMASK, kMemory), COMMAND(SIOCGIFMETRIC, kMemory),
    COMMAND(SIOCSIFMETRIC, kMemory), COMMAND(SIOCGIFMTU, kMemory), COMMAND(SIOCSIFMTU, kMemory),
    COMMAND(SIOCSIFNAME, kMemory), COMMAND(SIOCSIFHWADDR, kMemory), COMMAND(SIOCGIFHWADDR, kMemory),
    COMMAND(SIOCADDMULTI, kMemory), COMMAND(SIOCDELMULTI, kMemory), COMMAND(SIOCGIFINDEX, kMemory),
    COMMAND(SIOCDIFADDR, kMemory), COMMAND(SIOCGIFTXQLEN, kMemory), COMMAND(SIOCSIFTXQLEN, kMemory),
    COMMAND(SIOCGIFMAP, kMemory), COMMAND(SIOCDARP, kMemory), COMMAND(SIOCGARP, kMemory), COMMAND(SIOCSARP, kMemory),
    COMMAND(SIOCBRADDBR, kMemory), COMMAND(SIOCBRDELBR, kMemory), COMMAND(SIOCBRADDIF, kMemory),
    COMMAND(SIOCBRDELIF, kMemory),
    // Files: ioctl_ficlonerange(2), ioctl_iflags(2), fiemap (extents are written in order)
    COMMAND(FIBMAP, kMemory), COMMAND(FIGETBSZ, kMemory), COMMAND(FICLONE, kFd), COMMAND(FICLONERANGE, kClone),
    COMMAND(FIDEDUPERANGE, kMemory), COMMAND(FITRIM, kMemory), COMMAND(FS_IOC_GETFLAGS, kMemory),
    COMMAND(FS_IOC_SETFLAGS, kMemory), COMMAND(FS_IOC_GETVERSION, kMemory), COMMAND(FS_IOC_SETVERSION, kMemory),
    COMMAND(FS_IOC_FSGETXATTR, kMemory), COMMAND(FS_IOC_FSSETXATTR, kMemory), COMMAND(FS_IOC_FIEMAP, kMemory),
    COMMAND(FS_IOC_GETFSLABEL, kMemory), COMMAND(FS_IOC_SETFSLABEL, kMemory), COMMAND(FS_IOC_GETFSUUID, kMemory),
    COMMAND(FS_IOC_GETFSSYSFSPATH, kMemory),
    // Block devices
    COMMAND(BLKROSET, kMemory), COMMAND(BLKROGET, kMemory), COMMAND(BLKRRPART, kNone), COMMAND(BLKGETSIZE, kMemory),
    COMMAND(BLKFLSBUF, kNumber), COMMAND(BLKRASET, kNumber), COMMAND(BLKRAGET, kMemory), COMMAND(BLKSECTGET, kMemory),
    COMMAND(BLKSSZGET, kMemory), COMMAND(BLKBSZGET, kMemory), COMMAND(BLKGETSIZE64, kMemory),
    COMMAND(BLKDISCARD, kMemory), COMMAND(BLKIOMIN, kMemory), COMMAND(BLKIOOPT, kMemory), COMMAND(BLKALIGNOFF, kMemory),
    COMMAND(BLKPBSZGET, kMemory), COMMAND(BLKDISCARDZEROES, kMemory), COMMAND(BLKROTATIONAL, kMemory),
    COMMAND(BLKZEROOUT, kMemory), COMMAND(HDIO_GETGEO, kMemory),
    COMMAND(LOOP_SET_FD, kFd), COMMAND(LOOP_CLR_FD, kNone), COMMAND(LOOP_SET_STATUS64, kMemory),
    COMMAND(LOOP_GET_STATUS64, kMemory), COMMAND(LOOP_CTL_GET_FREE, kNone),
    // Descriptors of the kernel's making: timerfd, epoll, namespaces, pidfds; random, clock
    {0x40085400, "TFD_IOC_SET_TICKS", IoctlArg::kMemory}, COMMAND(EPIOCSPARAMS, kMemory), COMMAND(EPIOCGPARAMS, kMemory),
    COMMAND(NS_GET_USERNS, kNone), COMMAND(NS_GET_PARENT, kNone), COMMAND(NS_GET_NSTYPE, kNone),
    COMMAND(NS_GET_OWNER_UID, kMemory), COMMAND(RNDGETENTCNT, kMemory), COMMAND(RTC_RD_TIME, kMemory),
};

}  // namespace

std::span<const IoctlCommand> ioctl_commands() { return kCommands; }

const IoctlCommand* find_ioctl(uint32_t request) {
  for (const IoctlCommand& command : kCommands)
    if (command.request == request) return &command;
  return nullptr;
}

const char* ioctl_name(uint32_t request) {
  const IoctlCommand* command = find_ioctl(request);
  return command != nullptr ? command->name : nullptr;
}

}  // namespace km
