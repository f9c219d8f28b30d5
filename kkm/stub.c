// SPDX-License-Identifier: GPL-2.0-only
/* The stub page: assembled code, two seccomp filters, an initial XSAVE image. */
#include <linux/filter.h>
#include <linux/module.h>
#include <linux/seccomp.h>
#include <linux/audit.h>
#include <asm/unistd_64.h>

#include "kkm.h"

#define MXCSR_RESET	0x1f80
#define MXCSR_OFFSET	24	/* SDM volume 1, 10.5.1 */
#define FCW_RESET	0x37f

/* At KKM_STUB_DATA; the assembly knows that each sock_fprog has 16 bytes. */
struct kkm_stub_data {
	struct sock_fprog leader, thread;
	struct sock_filter leader_code[16], thread_code[1];
};

static struct page *stub_page;

/* What the leader may do: WAIT and ATTACH, the one clone, and its next filter. */
static const struct sock_filter leader_filter[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 9),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_seccomp, 8, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 4, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 5),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KKM_SPACE_WAIT, 4, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KKM_SPACE_ATTACH, 3, 2),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KKM_STUB_CLONE_FLAGS, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

/* What a guest thread may do: nothing. */
static const struct sock_filter thread_filter[] = {
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
};

int kkm_stub_init(void)
{
	struct kkm_stub_data *data;
	unsigned long va = KKM_STUB_VA + KKM_STUB_DATA;
	size_t size = kkm_stub_end - kkm_stub_start;
	u8 *page;

	BUILD_BUG_ON(sizeof(struct sock_fprog) != 16);
	BUILD_BUG_ON(ARRAY_SIZE(leader_filter) > ARRAY_SIZE(data->leader_code));
	BUILD_BUG_ON(KKM_STUB_DATA + sizeof(*data) > KKM_STUB_INIT_IMAGE);
	BUILD_BUG_ON(KKM_SPACE_WAIT != 0xaef1 || KKM_SPACE_ATTACH != 0xaef2);
	BUILD_BUG_ON(KKM_STUB_CLONE_FLAGS != (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
					      CLONE_THREAD | CLONE_SYSVSEM));
	if (WARN_ON(size > KKM_STUB_DATA))
		return -EINVAL;

	stub_page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!stub_page)
		return -ENOMEM;
	page = page_address(stub_page);
	memcpy(page, kkm_stub_start, size);

	data = (struct kkm_stub_data *)(page + KKM_STUB_DATA);
	memcpy(data->leader_code, leader_filter, sizeof(leader_filter));
	memcpy(data->thread_code, thread_filter, sizeof(thread_filter));
	data->leader.len = ARRAY_SIZE(leader_filter);
	data->leader.filter = (struct sock_filter __user *)
		(va + offsetof(struct kkm_stub_data, leader_code));
	data->thread.len = ARRAY_SIZE(thread_filter);
	data->thread.filter = (struct sock_filter __user *)
		(va + offsetof(struct kkm_stub_data, thread_code));

	*(u16 *)(page + KKM_STUB_INIT_IMAGE) = FCW_RESET;
	*(u32 *)(page + KKM_STUB_INIT_IMAGE + MXCSR_OFFSET) = MXCSR_RESET;
	return 0;
}

void kkm_stub_exit(void)
{
	/* Guests are gone; their page-table entries went with them. */
	put_page(stub_page);
}

struct page *kkm_stub_page(void)
{
	return stub_page;
}
