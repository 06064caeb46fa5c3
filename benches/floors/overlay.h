/*
 * An overlay by the new mount API, and the question whether somebody has one, as libovl puts them to
 * the kernel: the floors' kernel calls, with nothing around them.
 */
#ifndef OVERLAY_H
#define OVERLAY_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux's own numbers, for a C library that is older than the mount API. */
enum { SET_FLAG = 0, SET_STRING = 1, SET_FD = 5, CMD_CREATE = 6, EMPTY_PATHS = 0x04 | 0x40 };

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* The value of a system call, or the end. */
static inline int must(long said, const char *what)
{
	if (said < 0)
		die(what);
	return (int)said;
}

static inline int open_dir(int at, const char *name)
{
	return must(openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), name);
}

static inline int make_dir(int at, const char *name, mode_t mode)
{
	must(mkdirat(at, name, mode), name);
	return open_dir(at, name);
}

/* A new file, open. `sync` is what sync_file_range is told. */
static inline int new_file(int at, const char *name, const char *text, int sync)
{
	int fd = must(openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), name);

	must(write(fd, text, strlen(text)), name);
	if (sync)
		must(sync_file_range(fd, 0, 0, sync), "sync_file_range");
	return fd;
}

static inline void make_file(int at, const char *name, const char *text)
{
	close(new_file(at, name, text, 0));
}

static inline void set_string(int context, const char *key, const char *value)
{
	must(syscall(SYS_fsconfig, context, SET_STRING, key, value, 0), key);
}

static inline void set_fd(int context, const char *key, int fd)
{
	must(syscall(SYS_fsconfig, context, SET_FD, key, NULL, fd), key);
}

static inline int overlay_begin(void)
{
	return must(syscall(SYS_fsopen, "overlay", 1), "fsopen");
}

static inline void overlay_make(int context, int is_volatile)
{
	if (is_volatile)
		must(syscall(SYS_fsconfig, context, SET_FLAG, "volatile", NULL, 0), "volatile");
	must(syscall(SYS_fsconfig, context, CMD_CREATE, NULL, NULL, 0), "overlay");
}

/* Is `upper` in use? An overlay that has it as its lower, of a moment, in `scratch`. */
static inline void ask_in_use(int upper, int scratch)
{
	static const char *made[] = {
		"work/work/incompat/volatile", "work/work/incompat", "work/work", "work/index", "work", "upper"
	};
	char path[64];
	int room = make_dir(scratch, "probe", 0700), context;

	must(mkdirat(room, "upper", 0700), "upper");
	must(mkdirat(room, "work", 0700), "work");
	context = overlay_begin();
	snprintf(path, sizeof path, "/proc/self/fd/%d", upper);
	set_string(context, "lowerdir", path);
	snprintf(path, sizeof path, "/proc/self/fd/%d/upper", room);
	set_string(context, "upperdir", path);
	snprintf(path, sizeof path, "/proc/self/fd/%d/work", room);
	set_string(context, "workdir", path);
	set_string(context, "index", "on");
	overlay_make(context, 1);
	close(context);
	must(unlinkat(room, "work/work/incompat/volatile/dirty", 0), "dirty");
	for (size_t i = 0; i < sizeof made / sizeof *made; i++)
		must(unlinkat(room, made[i], AT_REMOVEDIR), made[i]);
	must(unlinkat(scratch, "probe", AT_REMOVEDIR), "probe");
	close(room);
}

#endif
