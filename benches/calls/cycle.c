/*
 * A container's life through the C interface: create, mount, unmount, remove; see floors/cycle.c.
 *
 *     cycle DIR LAYERS TIMES volatile|synced
 *
 * The chain of LAYERS is made where it is not there yet.
 */
#define _GNU_SOURCE
#include "store.h"
#include "steps.h"

#include <fcntl.h>
#include <unistd.h>

/* The layer `i` of the chain, with one file of its own. */
static void add_lower(struct ovl_store *store, int i)
{
	char id[32], below[32];
	struct ovl_mnt *mnt;
	int fd;

	snprintf(id, sizeof id, "l%d", i);
	snprintf(below, sizeof below, "l%d", i - 1);
	create_layer(store, id, i ? below : NULL);
	mnt = mount_layer(store, id, 0);
	fd = openat(ovl_mnt_fd(mnt), id, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0) {
		perror(id);
		exit(1);
	}
	close(fd);
	unmount_layer(mnt);
	commit_layer(store, id);
}

int main(int argc, char **argv)
{
	struct steps steps = { .times = 0 };
	struct ovl_store *store;
	struct ovl_mnt *mnt;
	int layers, times, is_volatile, home;
	char parent[32];

	if (argc != 5) {
		fprintf(stderr, "usage: cycle DIR LAYERS TIMES volatile|synced\n");
		return 2;
	}
	layers = number(argv[2], 500);
	times = number(argv[3], MOST_TIMES);
	is_volatile = strcmp(argv[4], "volatile") == 0;
	store = open_store(argv[1]);
	snprintf(parent, sizeof parent, "l%d", layers - 1);
	if (ovl_exists(store, parent, NULL, 0, NULL) != 1)
		for (int i = 0; i < layers; i++)
			add_lower(store, i);
	home = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (home < 0 || syncfs(home) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (; steps.times < times; steps.times++) {
		steps_begin(&steps);
		create_layer(store, "c", parent);
		steps_end(&steps, "create");
		mnt = mount_layer(store, "c", is_volatile);
		steps_end(&steps, "mount");
		unmount_layer(mnt);
		steps_end(&steps, "unmount");
		remove_layer(store, "c", 0);
		steps_end(&steps, "remove");
	}
	steps_print(&steps);
	ovl_store_free(store);
	close(home);
	return 0;
}
