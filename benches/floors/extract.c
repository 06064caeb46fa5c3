/*
 * The floor of a plain tar into a directory: make, write, stamp and close each file.
 *
 *     extract TAR DIR THREADS
 *
 * The tar lies in memory, is parsed first, and no digest is computed. Directories and regular files
 * with their modes, owners and whole seconds; extended headers are not read, and anything else is an error.
 */
#define _GNU_SOURCE
#include "trees.h"
#include "../calls/steps.h"
#include <stdatomic.h>
#include <sys/mman.h>

enum { BLOCK = 512, MOST_PATH = 264, CHUNK = 100 };

struct member {
	char path[MOST_PATH];
	const char *data;
	size_t size;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	time_t mtime;
};

struct extraction {
	int root;
	struct member *files, *dirs;
	size_t file_count, dir_count;
	atomic_size_t next;
};

static unsigned long octal(const char *field, int length)
{
	unsigned long value = 0;

	for (int i = 0; i < length && field[i] >= '0' && field[i] <= '7'; i++)
		value = value * 8 + (unsigned long)(field[i] - '0');
	return value;
}

static struct member *add(struct member **all, size_t *count)
{
	if ((*count & (*count - 1)) == 0) {
		*all = realloc(*all, (*count ? 2 * *count : 1) * sizeof **all);
		if (!*all)
			die("memory");
	}
	return &(*all)[(*count)++];
}

static void stamp(const struct member *member, struct timespec times[2])
{
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_sec = member->mtime;
	times[1].tv_nsec = 0;
}

/* Finds the members, and makes the directories. */
static void parse(struct extraction *into, const char *tar, size_t length)
{
	size_t size;

	for (size_t at = 0; at + BLOCK <= length && tar[at]; at += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK) {
		const char *header = tar + at;
		struct member *member;

		size = octal(header + 124, 11);
		if (header[156] == 'x' || header[156] == 'g')
			continue;
		if (header[156] == '5')
			member = add(&into->dirs, &into->dir_count);
		else if (header[156] == '0')
			member = add(&into->files, &into->file_count);
		else
			errno = EINVAL, die(header);
		if (header[345])
			snprintf(member->path, MOST_PATH, "%.155s/%.100s", header + 345, header);
		else
			snprintf(member->path, MOST_PATH, "%.100s", header);
		member->data = header + BLOCK;
		member->size = size;
		member->mode = octal(header + 100, 7);
		member->uid = (uid_t)octal(header + 108, 7);
		member->gid = (gid_t)octal(header + 116, 7);
		member->mtime = (time_t)octal(header + 136, 11);
		if (header[156] == '5' && strcmp(member->path, "./") != 0)
			must(mkdirat(into->root, member->path, member->mode), member->path);
	}
}

static void *make_files(void *given)
{
	struct extraction *into = given;
	struct timespec times[2];

	for (;;) {
		size_t at = atomic_fetch_add(&into->next, CHUNK), end = at + CHUNK;

		if (at >= into->file_count)
			return NULL;
		for (; at < end && at < into->file_count; at++) {
			struct member *file = &into->files[at];
			int fd = must(openat(into->root, file->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
					     file->mode), file->path);

			must(write(fd, file->data, file->size), "write");
			if (file->uid || file->gid)
				must(fchown(fd, file->uid, file->gid), "chown");
			/* A write and a chown take these away. */
			if (file->mode & 07000)
				must(fchmod(fd, file->mode), "chmod");
			stamp(file, times);
			must(futimens(fd, times), "utimens");
			close(fd);
		}
	}
}

int main(int argc, char **argv)
{
	struct extraction into = { .root = -1 };
	struct timespec times[2];
	struct stat tar;
	char *data;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: extract TAR DIR THREADS\n");
		return 2;
	}
	umask(0);
	fd = must(open(argv[1], O_RDONLY), argv[1]);
	must(fstat(fd, &tar), argv[1]);
	data = mmap(NULL, (size_t)tar.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		die("mmap");
	into.root = must(open(argv[2], O_RDONLY | O_DIRECTORY), argv[2]);
	parse(&into, data, (size_t)tar.st_size);
	run_threads(number(argv[3], MOST_THREADS), make_files, &into);
	for (size_t i = into.dir_count; i-- > 0;) {
		struct member *dir = &into.dirs[i];

		if (dir->uid || dir->gid)
			must(fchownat(into.root, dir->path, dir->uid, dir->gid, 0), dir->path);
		stamp(dir, times);
		must(utimensat(into.root, dir->path, times, 0), dir->path);
	}
	return 0;
}
