/*
 * Opens a store, creates a layer in it and mounts it; or fills a store with layers.
 *
 *     open DIR TIMES             times it; what it makes it removes again
 *     open DIR --fill LAYERS     adds empty layers until there are as many
 */
#define _GNU_SOURCE
#include "store.h"
#include "steps.h"

/* Layers that nothing is built on: one without a parent each, and `base` for the containers. */
static void fill(const char *home, int layers)
{
	struct ovl_store *store = open_store(home);
	char id[32];

	create_layer(store, "base", NULL);
	commit_layer(store, "base");
	for (int i = 1; i < layers; i++) {
		snprintf(id, sizeof id, "l%d", i);
		create_layer(store, id, NULL);
	}
	ovl_store_free(store);
}

int main(int argc, char **argv)
{
	struct steps steps = { .times = 0 };
	struct ovl_store *store;
	struct ovl_mnt *mnt;
	int times;

	if (argc == 4 && strcmp(argv[2], "--fill") == 0) {
		fill(argv[1], number(argv[3], 10000000));
		return 0;
	}
	if (argc != 3) {
		fprintf(stderr, "usage: open DIR TIMES | --fill LAYERS\n");
		return 2;
	}
	times = number(argv[2], MOST_TIMES);
	for (; steps.times < times; steps.times++) {
		steps_begin(&steps);
		store = open_store(argv[1]);
		steps_end(&steps, "open");
		create_layer(store, "c", "base");
		steps_end(&steps, "create");
		mnt = mount_layer(store, "c", 1);
		steps_end(&steps, "mount");
		unmount_layer(mnt);
		remove_layer(store, "c", 0);
		ovl_store_free(store);
	}
	steps_print(&steps);
	return 0;
}
