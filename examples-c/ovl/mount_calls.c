/* The mount calls that glibc has from 2.36 only. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

int result(long said)
{
	return said < 0 ? -errno : (int)said;
}

int clone_mount(const char *path, int recursive)
{
	const unsigned clone_cloexec = 1 | O_CLOEXEC;

	return result(syscall(SYS_open_tree, AT_FDCWD, path, clone_cloexec | (recursive ? AT_RECURSIVE : 0)));
}

int new_mount(const char *type)
{
	const unsigned cloexec = 1, set_string = 1, create = 6, nosuid_nodev_noexec = 2 | 4 | 8;
	int context = (int)syscall(SYS_fsopen, type, cloexec);
	int mount_fd = -1;

	if (context < 0)
		return -errno;
	if (syscall(SYS_fsconfig, context, set_string, "source", type, 0) == 0
	    && syscall(SYS_fsconfig, context, create, NULL, NULL, 0) == 0)
		mount_fd = (int)syscall(SYS_fsmount, context, cloexec, nosuid_nodev_noexec);
	mount_fd = result(mount_fd);
	close(context);
	return mount_fd;
}

int attach(int mount_fd, const char *target)
{
	const unsigned from_fd_follow_target = 0x4 | 0x10;

	if (mount_fd < 0)
		return mount_fd;
	return result(syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, target, from_fd_follow_target));
}

int set_read_only(const char *path)
{
	const unsigned long strict = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
#ifdef SYS_mount_setattr
	struct { uint64_t set, clear, propagation, userns_fd; } read_only = { .set = 1 };

	if (syscall(SYS_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, &read_only, sizeof read_only) == 0)
		return 0;
#endif
	return result(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | strict, NULL));     /* before 5.12 */
}
