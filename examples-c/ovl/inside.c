/* The layer as "/": its namespaces, and the mounts and devices in it. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const device_names[] = { "null", "zero", "full", "random", "urandom", "tty" };
enum { DEVICES = sizeof device_names / sizeof *device_names };

/* Mounts made while the host's tree is in sight, to be attached when "/" is the layer: no symbolic
 * link in the layer can then lead one of them outside. Descriptors, or -errno. */
struct host {
	int device[DEVICES];
	int proc, sys, resolv;
};

static void host_prepare(struct host *host)
{
	char path[32];

	for (int i = 0; i < DEVICES; i++) {
		snprintf(path, sizeof path, "/dev/%s", device_names[i]);
		host->device[i] = clone_mount(path, 0);
	}
	host->proc = new_mount("proc");
	host->sys = new_mount("sysfs");
	if (host->sys < 0)      /* a user namespace may not have its own over the host's network */
		host->sys = clone_mount("/sys", 1);
	host->resolv = clone_mount("/etc/resolv.conf", 0);
}

/* A link to a directory is none: it may lead to "/" itself. */
static int is_directory(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What a restricted place does not permit is left out, and said. */
static void left_out(const char *path, int error)
{
	char text[128];

	snprintf(text, sizeof text, "left out: %s", strerror(error));
	complain("run", path, strlen(path), text);
}

/* For reading, or not at all. */
static void attach_read_only(int mount_fd, const char *path)
{
	int said = attach(mount_fd, path);

	if (said == 0) {
		said = set_read_only(path);
		if (said < 0)
			umount2(path, MNT_DETACH);
	}
	if (said < 0)
		left_out(path, -said);
}

static void make_device(int mount_fd, const char *name)
{
	char path[32];
	int node, said;

	if (mount_fd == -ENOENT)        /* the host has none */
		return;
	snprintf(path, sizeof path, "/dev/%s", name);
	node = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	said = node < 0 ? -errno : attach(mount_fd, path);
	if (said < 0)
		left_out(path, -said);
	if (node >= 0)
		close(node);
}

static void make_dir_mount(const char *path, const char *type, unsigned long flags, const char *options)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		left_out(path, errno);
	else if (mount(type, path, type, flags, options) < 0)
		left_out(path, errno);
}

static void make_dev(const struct host *host)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" },
		{ "pts/ptmx", "/dev/ptmx" },
	};

	if (mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k") < 0) {
		left_out("/dev", errno);
		return;
	}
	for (int i = 0; i < DEVICES; i++)
		make_device(host->device[i], device_names[i]);
	make_dir_mount("/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		       "newinstance,ptmxmode=0666,mode=0620");
	make_dir_mount("/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		if (symlink(links[i][0], links[i][1]) < 0)
			left_out(links[i][1], errno);
}

int open_inside(const char *path, uint64_t flags)
{
	struct { uint64_t flags, mode, resolve; } how = { .flags = flags | O_CLOEXEC, .resolve = 0x2 };

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

static int has_file(const char *path)
{
	struct stat st;
	int fd = open_inside(path, O_PATH), is_file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

	if (fd >= 0)
		close(fd);
	return is_file;
}

/* Closes all but the standard descriptors: a command in the layer would find what we, and whoever
 * called us, have open of the host's in /proc. The parent holds the layer. */
static void close_all(void)
{
	long most = sysconf(_SC_OPEN_MAX);

#ifdef SYS_close_range
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0)
		return;
#endif
	for (int fd = STDERR_FILENO + 1; fd < (most > 0 ? most : 65536); fd++)   /* before 5.9 */
		close(fd);
}

/* The mounts over the layer's own directories; what the layer does not have is not made. */
static void make_mounts(const struct host *host)
{
	mode_t mask = umask(0);

	if (is_directory("/proc")) {
		int said = attach(host->proc, "/proc");
		if (said < 0)
			left_out("/proc", -said);
	}
	if (is_directory("/sys"))
		attach_read_only(host->sys, "/sys");
	if (is_directory("/dev"))
		make_dev(host);
	if (host->resolv >= 0 && has_file("/etc/resolv.conf"))
		attach_read_only(host->resolv, "/etc/resolv.conf");
	umask(mask);
}

int enter(const struct place *place)
{
	struct host host;
	int said;

	if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) < 0)
		return fail("run", place->id, strerror(errno));
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail("run", "/", strerror(errno));
	host_prepare(&host);
	/* In this namespace the store itself is as good a mount point as any. */
	said = place->path ? result(chdir(place->path)) : attach(place->fd, place->home);
	if (said == 0 && !place->path)
		said = result(fchdir(place->fd));
	if (said < 0)
		return fail("run", place->path ? place->path : place->home, strerror(-said));
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		said = result(umount2(".", MNT_DETACH));
	else
		said = result(chroot("."));     /* within a chroot, or on an initial ramfs */
	if (said == 0)
		said = result(chdir("/"));
	if (said == 0)
		said = result(sethostname(place->id, strnlen(place->id, 64)));
	if (said < 0)
		return fail("run", place->id, strerror(-said));
	make_mounts(&host);
	close_all();
	return 0;
}
