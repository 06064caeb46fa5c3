/*
 * A layer mounted as a descriptor: no path shows it, and it ends when the descriptor does.
 *
 *     mount STORE PARENT ID        makes ID on PARENT, writes a file in it, prints the changes
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

static int write_greeting(int root)
{
	int fd = openat(root, "greeting", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, "hello\n", 6) != 6 || close(fd) < 0) {
		perror("greeting");
		return 1;
	}
	return 0;
}

static int work_in(struct ovl_store *store, const char *id)
{
	struct ovl_mount_opts opts = { .flags = OVL_MOUNT_DETACHED };
	struct ovl_mnt *mnt = NULL;
	struct ovl_error *error = NULL;
	int failed;

	if (ovl_mount(store, id, &opts, sizeof opts, &mnt, &error) < 0)
		return told(error);
	failed = write_greeting(ovl_mnt_fd(mnt));       /* the descriptor is the mount's, not ours */
	if (ovl_unmount(mnt, NULL, 0, &error) < 0) {
		ovl_mnt_free(mnt);                      /* after a failure the handle is still there */
		return told(error);
	}
	return failed;
}

static int print_changes(struct ovl_store *store, const char *id)
{
	struct ovl_iter *changes = NULL;
	struct ovl_item change;
	struct ovl_error *error = NULL;
	int more;

	if (ovl_changes(store, id, NULL, NULL, 0, &changes, &error) < 0)
		return told(error);
	while ((more = ovl_iter_next(changes, &change, sizeof change, &error)) > 0)
		printf("%c %s\n", (int)change.what, change.name);
	ovl_iter_free(changes);
	return more < 0 ? told(error) : 0;
}

int main(int argc, char **argv)
{
	struct ovl_store *store = NULL;
	struct ovl_error *error = NULL;
	int failed;

	if (argc != 4) {
		fprintf(stderr, "usage: mount STORE PARENT ID\n");
		return 2;
	}
	if (ovl_store_open(argv[1], NULL, 0, &store, &error) < 0)
		return told(error);
	failed = ovl_create(store, argv[3], argv[2], NULL, 0, &error) < 0 ? told(error)
		: work_in(store, argv[3]) || print_changes(store, argv[3]);
	ovl_store_free(store);
	return failed;
}
