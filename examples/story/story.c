/*
 * One story, in C:  story STORE BASE.tar APP.tar
 *
 * Two image layers and a container: what it changed, and that as a layer tar. The same story is told
 * in C++, Go, Python and Rust beside this one, and each prints the same. */
#define _POSIX_C_SOURCE 200809L
#include <ovl.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct ovl_error *error;

/* The number that a call returned, if it did its work. */
static int must(int said)
{
	if (said >= 0)
		return said;
	fprintf(stderr, "story: %s: %s: %s\n", ovl_error_operation(error),
		ovl_error_path(error, NULL), ovl_error_message(error));
	exit(1);
}

static void apply(struct ovl_store *store, const char *id, const char *parent, const char *tar)
{
	struct ovl_apply_opts opts = { .parent = parent };
	struct ovl_layer_info info;
	int fd = open(tar, O_RDONLY | O_CLOEXEC);

	must(ovl_apply_layer(store, id, fd, &opts, sizeof opts, &info, sizeof info, &error));
	close(fd);
	printf("%s %s\n", id, info.diff_id);
}

int main(int argc, char **argv)
{
	struct ovl_mount_opts detached = { .flags = OVL_MOUNT_DETACHED };
	struct ovl_diff_opts clamp = { .flags = OVL_DIFF_CLAMP, .clamp_sec = 1700000000 };
	struct ovl_store *store = NULL;
	struct ovl_mnt *mnt = NULL;
	struct ovl_iter *changes = NULL;
	struct ovl_item item;
	struct ovl_layer_info info;
	int fd;

	if (argc != 4)
		return 2;
	must(ovl_store_open(argv[1], NULL, 0, &store, &error));
	apply(store, "base", NULL, argv[2]);
	apply(store, "app", "base", argv[3]);

	must(ovl_create(store, "box", "app", NULL, 0, &error));
	if (ovl_create(store, "box", "app", NULL, 0, NULL) == -EEXIST)
		puts("box is there already");

	must(ovl_mount(store, "box", &detached, sizeof detached, &mnt, &error));
	fd = openat(ovl_mnt_fd(mnt), "hello", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, "hello\n", 6) != 6 || close(fd) < 0
	    || unlinkat(ovl_mnt_fd(mnt), "etc/motd", 0) < 0)
		return perror("box"), 1;
	must(ovl_unmount(mnt, NULL, 0, &error));

	must(ovl_changes(store, "box", NULL, NULL, 0, &changes, &error));
	while (must(ovl_iter_next(changes, &item, sizeof item, &error)))
		printf("%c %s\n", (int)item.what, item.name);
	ovl_iter_free(changes);

	fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	must(ovl_diff(store, "box", NULL, fd, &clamp, sizeof clamp, &info, sizeof info, &error));
	close(fd);
	printf("box %s\n", info.diff_id);

	must(ovl_remove(store, "box", NULL, 0, &error));
	ovl_store_free(store);
	return 0;
}
