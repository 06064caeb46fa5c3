/*
 * Removing the layer `x`, until it is gone from the store: its files are left to a cleanup.
 *
 *     remove DIR
 */
#define _GNU_SOURCE
#include "store.h"
#include "steps.h"

int main(int argc, char **argv)
{
	struct steps steps = { .times = 0 };
	struct ovl_store *store;

	if (argc != 2) {
		fprintf(stderr, "usage: remove DIR\n");
		return 2;
	}
	store = open_store(argv[1]);
	steps_begin(&steps);
	remove_layer(store, "x", OVL_REMOVE_DEFER);
	steps_end(&steps, "remove");
	steps.times = 1;
	steps_print(&steps);
	ovl_store_free(store);
	return 0;
}
