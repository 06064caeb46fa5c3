/* A store, or the end: what the programs that time libovl's calls share. */
#ifndef STORE_H
#define STORE_H

#include <ovl.h>
#include <stdio.h>
#include <stdlib.h>

static inline void must_ovl(int said, struct ovl_error *error)
{
	if (said >= 0)
		return;
	fprintf(stderr, "%s: %s\n", ovl_error_operation(error), ovl_error_message(error));
	exit(1);
}

static inline struct ovl_store *open_store(const char *home)
{
	struct ovl_store *store = NULL;
	struct ovl_error *error = NULL;

	must_ovl(ovl_store_open(home, NULL, 0, &store, &error), error);
	return store;
}

static inline void create_layer(struct ovl_store *store, const char *id, const char *parent)
{
	struct ovl_error *error = NULL;

	must_ovl(ovl_create(store, id, parent, NULL, 0, &error), error);
}

static inline struct ovl_mnt *mount_layer(struct ovl_store *store, const char *id, int is_volatile)
{
	struct ovl_mount_opts opts = { .flags = is_volatile ? OVL_MOUNT_VOLATILE : 0 };
	struct ovl_mnt *mnt = NULL;
	struct ovl_error *error = NULL;

	must_ovl(ovl_mount(store, id, &opts, sizeof opts, &mnt, &error), error);
	return mnt;
}

static inline void unmount_layer(struct ovl_mnt *mnt)
{
	struct ovl_error *error = NULL;

	must_ovl(ovl_unmount(mnt, NULL, 0, &error), error);
}

static inline void remove_layer(struct ovl_store *store, const char *id, uint64_t flags)
{
	struct ovl_remove_opts opts = { .flags = flags };
	struct ovl_error *error = NULL;

	must_ovl(ovl_remove(store, id, &opts, sizeof opts, &error), error);
}

static inline void commit_layer(struct ovl_store *store, const char *id)
{
	struct ovl_commit_opts opts = { .durability = OVL_DURABILITY_NONE };
	struct ovl_error *error = NULL;

	must_ovl(ovl_commit(store, id, &opts, sizeof opts, &error), error);
}

#endif
