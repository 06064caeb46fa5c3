/*
 * The floor of a removal, until the layer is gone from the store: the question to the kernel, the
 * rename, the fsync, the hint at the parent.
 *
 *     remove DIR
 *
 * DIR has layer/, trash/ and a layer `x` of overlay kind over `base`, as a store of libovl has them.
 */
#define _GNU_SOURCE
#include "overlay.h"
#include "../calls/steps.h"

int main(int argc, char **argv)
{
	struct steps steps = { .times = 0 };
	int home, layers, trash, layer, upper, pins, hints;

	if (argc != 2) {
		fprintf(stderr, "usage: remove DIR\n");
		return 2;
	}
	home = open_dir(AT_FDCWD, argv[1]);
	layers = open_dir(home, "layer");
	trash = open_dir(home, "trash");
	hints = open_dir(layers, "base/child");
	steps_begin(&steps);
	layer = open_dir(layers, "x");
	upper = open_dir(layer, "upper");
	pins = open_dir(layer, "pin");
	ask_in_use(upper, pins);
	must(renameat2(layers, "x", trash, "nonce", RENAME_NOREPLACE), "rename");
	must(fsync(layers), "fsync");
	must(unlinkat(hints, "x", 0), "hint");
	steps_end(&steps, "remove");
	steps.times = 1;
	steps_print(&steps);
	return 0;
}
