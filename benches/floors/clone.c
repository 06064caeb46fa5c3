/*
 * The floor of a clone of a tree.
 *
 *     clone hardlink|content|reflink FROM TO THREADS
 *
 * The kernel calls that make the files and give them their mode, owner and times; nothing that only
 * looks. Extended attributes are left out, and in a copy a file with several names becomes several.
 */
#define _GNU_SOURCE
#include "trees.h"
#include "../calls/steps.h"
#include <linux/fs.h>
#include <sys/ioctl.h>

enum { HARDLINK, CONTENT, REFLINK };

static void times_of(const struct stat *was, struct timespec times[2])
{
	times[0] = was->st_atim;
	times[1] = was->st_mtim;
}

static void fill(int from, int to, off_t size)
{
	static _Thread_local char room[256 << 10];

	for (off_t at = 0; at < size;) {
		int got = must(pread(from, room, sizeof room, at), "read");

		if (got == 0)
			return;
		must(pwrite(to, room, (size_t)got, at), "write");
		at += got;
	}
}

static void copy_file(struct walk *walk, int from_dir, int to_dir, const char *name)
{
	int from = must(openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), name), to;
	struct timespec times[2];
	struct stat was;

	must(fstat(from, &was), name);
	to = must(openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, was.st_mode & 0777), name);
	if (walk->how == REFLINK && was.st_size)
		must(ioctl(to, FICLONE, from), "FICLONE");
	else if (was.st_size)
		fill(from, to, was.st_size);
	if (was.st_uid || was.st_gid)
		must(fchown(to, was.st_uid, was.st_gid), "chown");
	if (was.st_mode & 07000)
		must(fchmod(to, was.st_mode & 07777), "chmod");
	times_of(&was, times);
	must(futimens(to, times), "utimens");
	close(to);
	close(from);
}

static void copy_other(int from_dir, int to_dir, const char *name)
{
	char target[4096];
	struct timespec times[2];
	struct stat was;

	must(fstatat(from_dir, name, &was, AT_SYMLINK_NOFOLLOW), name);
	if (S_ISLNK(was.st_mode)) {
		int length = must(readlinkat(from_dir, name, target, sizeof target - 1), name);

		target[length] = 0;
		must(symlinkat(target, to_dir, name), name);
	} else {
		must(mknodat(to_dir, name, was.st_mode, was.st_rdev), name);
	}
	if (was.st_uid || was.st_gid)
		must(fchownat(to_dir, name, was.st_uid, was.st_gid, AT_SYMLINK_NOFOLLOW), name);
	times_of(&was, times);
	must(utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW), name);
}

static void copy_dir(struct walk *walk, struct dir *dir)
{
	int from = must(openat(walk->from_fd, dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir->path);
	int to = must(openat(walk->to_fd, dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir->path);
	_Alignas(8) char room[ROOM];
	struct timespec times[2];
	struct entry *entry;
	struct stat was;

	FOR_ENTRIES(from, entry, room) {
		if (entry->type == DT_DIR) {
			must(mkdirat(to, entry->name, 0777), entry->name);
			put_dir(walk, dir, entry->name);
		} else if (walk->how == HARDLINK) {
			must(linkat(from, entry->name, to, entry->name, 0), entry->name);
		} else if (entry->type == DT_REG) {
			copy_file(walk, from, to, entry->name);
		} else {
			copy_other(from, to, entry->name);
		}
	}
	must(fstat(from, &was), dir->path);
	if (was.st_uid || was.st_gid)
		must(fchown(to, was.st_uid, was.st_gid), "chown");
	must(fchmod(to, was.st_mode & 07777), "chmod");
	times_of(&was, times);
	must(futimens(to, times), "utimens");
	close(to);
	close(from);
}

int main(int argc, char **argv)
{
	static const char *hows[] = { "hardlink", "content", "reflink" };
	struct walk walk = { .visit = copy_dir, .how = -1 };

	for (int how = 0; argc == 5 && how < 3; how++)
		if (strcmp(argv[1], hows[how]) == 0)
			walk.how = how;
	if (walk.how < 0) {
		fprintf(stderr, "usage: clone hardlink|content|reflink FROM TO THREADS\n");
		return 2;
	}
	umask(0);
	must(mkdir(argv[3], 0777), argv[3]);
	walk.from_fd = must(open(argv[2], O_RDONLY | O_DIRECTORY), argv[2]);
	walk.to_fd = must(open(argv[3], O_RDONLY | O_DIRECTORY), argv[3]);
	walk_tree(&walk, number(argv[4], MOST_THREADS));
	return 0;
}
