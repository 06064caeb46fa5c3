/*
 * An image is layers, each applied on the one before; the chain is yours to name.
 *
 *     apply STORE NAME TAR...      makes NAME.1, NAME.2, ... and prints each diff ID
 */
#define _POSIX_C_SOURCE 200809L
#include <ovl.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int told(struct ovl_error *error)
{
	fprintf(stderr, "%s: %s\n", ovl_error_operation(error), ovl_error_message(error));
	ovl_error_free(error);
	return 1;
}

static int apply(struct ovl_store *store, const char *id, const char *parent, const char *tar)
{
	struct ovl_apply_opts opts = { .parent = parent };
	struct ovl_layer_info info;
	struct ovl_error *error = NULL;
	int said, fd = open(tar, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		perror(tar);
		return 1;
	}
	/* All or nothing: the layer is there, committed and on the disk, or it is not there. */
	said = ovl_apply_layer(store, id, fd, &opts, sizeof opts, &info, sizeof info, &error);
	close(fd);
	if (said < 0)
		return told(error);
	printf("%s %s\n", id, info.diff_id);
	return 0;
}

int main(int argc, char **argv)
{
	char id[2][64];
	const char *parent = NULL;
	struct ovl_store *store = NULL;
	struct ovl_error *error = NULL;
	int failed = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: apply STORE NAME TAR...\n");
		return 2;
	}
	if (ovl_store_open(argv[1], NULL, 0, &store, &error) < 0)
		return told(error);
	for (int i = 3; i < argc && !failed; i++) {
		snprintf(id[i % 2], sizeof id[0], "%s.%d", argv[2], i - 2);
		failed = apply(store, id[i % 2], parent, argv[i]);
		parent = id[i % 2];
	}
	ovl_store_free(store);
	return failed;
}
