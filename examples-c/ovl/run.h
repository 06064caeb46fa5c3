/* What the files of `run` share. */
#ifndef RUN_H
#define RUN_H

#include "tool.h"

/* A list of words; a NULL follows the last. */
struct words {
	char **word;
	size_t count, room;
};

/* What an image says of the command that is run. */
struct image {
	struct words env, entrypoint, cmd;
	char *dir, *user;
	char *layer;                            /* the topmost; NULL where there is none */
};

/* The layer to run in: a detached mount, or one that is at a path already. */
struct place {
	const char *id, *home, *path;
	const struct image *image;              /* what it was made of, or NULL */
	int fd;
	int no_groups;                          /* this user namespace lets nobody set groups */
};

/* ---- words.c ---- */

/* Memory that cannot be had ends the program: it has done nothing yet that needs undoing. */
void *have(void *memory);

void add_word(struct words *list, const char *word);
void add_variable(struct words *list, const char *key, const char *value);

/* Of the variables with one name the last stays; the others keep their order. */
void keep_last(struct words *list);

void free_words(struct words *list);

/* ---- mount_calls.c: all give a descriptor or 0, or -errno ---- */

int result(long said);

/* A detached copy of the mount at `path`; with `recursive`, of those below it too. */
int clone_mount(const char *path, int recursive);

/* A detached new mount of `type`; nosuid, nodev and noexec. */
int new_mount(const char *type);

/* Hands on a `mount_fd` that is -errno. */
int attach(int mount_fd, const char *target);

int set_read_only(const char *path);

/* ---- inside.c ---- */

/* Makes the layer this process's "/", with its mounts, in namespaces of its own. */
int enter(const struct place *place);

/* Opens a path of the layer's, which is "/" by now. Its links are followed, but for those of /proc that
 * lead to what a process has open: that need not be the layer's. */
int open_inside(const char *path, uint64_t flags);

/* ---- who.c ---- */

/* Whom a command runs as. */
struct identity {
	uid_t uid;
	gid_t gid, groups[64];
	size_t group_count;
	char home[256];
};

/* Whether this is a user namespace in which setgroups(2) is not permitted. */
int groups_are_denied(void);

/* Becomes the user of the image: "user", "uid", "user:group" or "uid:gid"; without one, root. */
int become(const char *user, int no_groups, struct identity *who);

/* ---- execute.c ---- */

/* Replaces this process by CMD, looked for in the layer. */
int execute(const struct place *place, char **command);

/* ---- run.c ---- */

/* Runs CMD in the layer of `place`; what is not said there yet is filled in. */
int run_layer(struct tool *tool, struct place *place, int volatile_, char **command);

/* ---- run_image.c ---- */

/* The same in a new layer over the image that --image names. */
int run_image(struct tool *tool, const struct args *args);

#endif
