/* What the files of the tool share. */
#ifndef TOOL_H
#define TOOL_H

#define _GNU_SOURCE             /* before any header: each file includes this one first */
#include <ovl.h>

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

enum {
	EXIT_OVL = 125,         /* run: ovl itself failed */
	EXIT_NOT_RUN = 126,     /* run: CMD is there and cannot be run */
	EXIT_NOT_FOUND = 127,   /* run: CMD is not there */
	EXIT_SIGNAL = 128       /* run: CMD died of signal N: this plus N */
};

/* What the command line said. */
struct args {
	char *word[3];          /* the arguments that are not options */
	int words;
	char **rest;            /* run: CMD and its arguments, NULL-terminated */
	const char *parent, *kind, *diff_id, *reflink, *budget, *durability;
	const char *ref, *platform, *image, *name;
	int read_only, nul, hard_link, salvage, volatile_, repair, keep_blobs, remove;
};

struct tool {
	const char *command;    /* its name */
	const char *home;       /* the store's directory */
	int json;
	unsigned long problems; /* check: found and not mended */
	int listing;            /* usage: what was listed may be gone */
	int headed;             /* usage: the table has its head */
	struct ovl_store *store;
	struct ovl_cancel *cancel;
};

/* ---- say.c ---- */

/* Bytes below 32, 127 and the backslash as \ooo, so that a path is one line and can be read back. */
void put_escaped(FILE *to, const char *bytes, size_t len);

/* The one line of a failure. A message may quote the kernel's log: its line ends become spaces. */
void complain(const char *operation, const char *path, size_t len, const char *message);

/* The same, and EXIT_FAILURE for the caller to return. */
int fail(const char *operation, const char *path, const char *message);

/* A failure of the library, told and freed. `path` stands in where the error names none. The
 * operation is the command that was typed, not the library's call behind it. */
int failed(const struct tool *tool, struct ovl_error *error, const char *path);

/* Success in part: the library counts, and whoever called should know. Silent where a count is 0. */
void warn_skipped(const char *operation, const char *path, uint64_t count, const char *what);
void warn_layer(const char *operation, const struct ovl_layer_info *info, const char *path);
void warn_image(const char *operation, const struct ovl_image_info *info, const char *name);

/* ---- out.c ---- */

/* Where the members of a result go: lines of "name: value", or JSON. */
struct out {
	int json;
	const char *before_object, *before_member;
};

struct out out_new(const struct tool *tool);

/* These are seen in JSON alone. The caller ends the line of an object that is in no list. */
void begin_list(const struct out *out);
void end_list(const struct out *out);
void begin_object(struct out *out);
void end_object(const struct out *out);

void put_bytes(struct out *out, const char *name, const char *bytes, size_t len);
void put_text(struct out *out, const char *name, const char *text);     /* in lines "" is left out */
void put_number(struct out *out, const char *name, uint64_t number);
void put_layer(struct out *out, const struct ovl_layer_info *info);
void put_image(struct out *out, const char *name, const struct ovl_image_info *info);

/* ---- bar.c ---- */

struct bar {
	const char *what;
	int input;              /* the file read from, to tell how much of it is done, or -1 */
	off_t total;
	struct timespec start;
	int drawn;
};

struct bar bar_new(const char *what, int input);

/* What draws a bar that is given as the user pointer; NULL where there is no terminal. */
ovl_progress_fn bar_function(void);

void bar_end(const struct bar *bar);

/* ---- store.c ---- */

int open_store(struct tool *tool, uint64_t flags);

/* What --durability says, and what is usual where it is not given. */
int read_durability(const struct tool *tool, const struct args *args, uint32_t *durability);

/* The same for what is not committed: it has no digests that could be kept. */
int read_sync(const struct tool *tool, const struct args *args, uint64_t sync, uint64_t *flags);

/* ---- The commands. Each gives the tool's exit status. ---- */

typedef int command_fn(struct tool *tool, const struct args *args);

/* layers.c */
command_fn cmd_info, cmd_create, cmd_commit, cmd_rm, cmd_apply, cmd_diff, cmd_mount, cmd_unmount;

/* images.c */
command_fn cmd_import, cmd_export, cmd_rmi;

/* lists.c */
command_fn cmd_list, cmd_images, cmd_changes, cmd_status, cmd_check, cmd_usage;

/* copy.c, gc.c, run.c */
command_fn cmd_copy, cmd_gc, cmd_run;

#endif
