/*
 * The floor of the removal of a tree: open, read the names, unlink them.
 *
 *     rmtree TREE THREADS
 */
#define _GNU_SOURCE
#include "trees.h"
#include "../calls/steps.h"

static void empty(struct walk *walk, struct dir *dir)
{
	int fd = must(openat(walk->from_fd, dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir->path);
	_Alignas(8) char room[ROOM];
	struct entry *entry;

	FOR_ENTRIES(fd, entry, room) {
		if (entry->type == DT_DIR)
			put_dir(walk, dir, entry->name);
		else
			must(unlinkat(fd, entry->name, 0), entry->name);
	}
	close(fd);
}

static void leave(struct walk *walk, struct dir *dir)
{
	if (dir->parent)
		must(unlinkat(walk->from_fd, dir->path, AT_REMOVEDIR), dir->path);
}

int main(int argc, char **argv)
{
	struct walk walk = { .visit = empty, .leave = leave };

	if (argc != 3) {
		fprintf(stderr, "usage: rmtree TREE THREADS\n");
		return 2;
	}
	walk.from_fd = must(open(argv[1], O_RDONLY | O_DIRECTORY), argv[1]);
	walk_tree(&walk, number(argv[2], MOST_THREADS));
	must(rmdir(argv[1]), argv[1]);
	return 0;
}
