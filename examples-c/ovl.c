/*
 * ovl: libovl on the command line, and the complete example of its C interface.
 *
 * From top to bottom: what the tool says (errors, text, JSON, the progress bar), the commands that
 * are each a call or two, `run` (the one command that does work of its own: namespaces around a
 * mounted layer, and what an image says of its command), and the reading of the command line.
 *
 * Every failure ends as one line, "ovl: OPERATION: PATH: MESSAGE", and exit status 1 (125 for run).
 *
 *     cc ovl.c $(pkg-config --cflags --libs ovl) -o ovl
 */
#define _GNU_SOURCE
#include <ovl.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

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

/* ---- What the tool says ---- */

/* Bytes below 32, 127 and the backslash as \ooo, so that a path is one line and can be read back. */
static void put_escaped(FILE *to, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c < 32 || c == 127 || c == '\\')
			fprintf(to, "\\%03o", c);
		else
			putc(c, to);
	}
}

/* The one line of a failure. A message may quote the kernel's log: its line ends become spaces. */
static void complain(const char *operation, const char *path, size_t len, const char *message)
{
	fprintf(stderr, "ovl: %s: ", operation);
	if (len > 0) {
		put_escaped(stderr, path, len);
		fputs(": ", stderr);
	}
	for (; *message; message++)
		putc((unsigned char)*message < 32 ? ' ' : *message, stderr);
	putc('\n', stderr);
}

static int fail(const char *operation, const char *path, const char *message)
{
	complain(operation, path, strlen(path), message);
	return EXIT_FAILURE;
}

/* A failure of the library, told and freed. `path` stands in where the error names none. The
 * operation is the command that was typed, not the library's call behind it. */
static int failed(const struct tool *tool, struct ovl_error *error, const char *path)
{
	size_t len = 0;
	const char *at = ovl_error_path(error, &len);

	if (!at || len == 0) {
		at = path;
		len = strlen(path);
	}
	complain(tool->command, at, len, ovl_error_message(error));
	ovl_error_free(error);
	return EXIT_FAILURE;
}

/* Where the members of a result go: lines of "name: value", or JSON. */
struct out {
	int json;
	const char *before_object, *before_member;
};

static struct out out_new(const struct tool *tool)
{
	return (struct out){ .json = tool->json, .before_object = "", .before_member = "" };
}

/* How many bytes at `s` are one UTF-8 character; 0 when they are none. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
	uint32_t point;

	if (len < 2)
		return len;
	if (len > left)
		return 0;
	point = s[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		point = point << 6 | (s[i] & 0x3f);
	}
	if (point < least[len] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	return len;
}

static void put_json_string(const char *bytes, size_t len)
{
	const unsigned char *s = (const unsigned char *)bytes;
	size_t step;

	putchar('"');
	for (size_t i = 0; i < len; i += step) {
		size_t whole = utf8_length(s + i, len - i);
		step = whole ? whole : 1;
		if (whole == 0)
			printf("\\\\%03o", s[i]);
		else if (s[i] == '"' || s[i] == '\\')
			printf("\\%c", s[i]);
		else if (s[i] < 32)
			printf("\\u%04x", s[i]);
		else
			fwrite(s + i, 1, whole, stdout);
	}
	putchar('"');
}

static void begin_list(const struct out *out)
{
	if (out->json)
		putchar('[');
}

static void end_list(const struct out *out)
{
	if (out->json)
		fputs("]\n", stdout);
}

static void begin_object(struct out *out)
{
	if (out->json)
		printf("%s{", out->before_object);
	out->before_object = ",\n";
	out->before_member = "";
}

static void end_object(const struct out *out)
{
	if (out->json)
		putchar('}');
}

static void put_name(struct out *out, const char *name)
{
	if (out->json)
		printf("%s\"%s\":", out->before_member, name);
	else
		printf("%s: ", name);
	out->before_member = ",";
}

static void put_bytes(struct out *out, const char *name, const char *bytes, size_t len)
{
	put_name(out, name);
	if (out->json) {
		put_json_string(bytes, len);
	} else {
		put_escaped(stdout, bytes, len);
		putchar('\n');
	}
}

static void put_text(struct out *out, const char *name, const char *text)
{
	if (*text || out->json)
		put_bytes(out, name, text, strlen(text));
}

static void put_number(struct out *out, const char *name, uint64_t number)
{
	put_name(out, name);
	printf(out->json ? "%" PRIu64 : "%" PRIu64 "\n", number);
}

static void put_time(struct out *out, const char *name, int64_t seconds, uint32_t nanoseconds)
{
	char text[40];

	snprintf(text, sizeof text, "%" PRId64 ".%09" PRIu32, seconds, nanoseconds);
	put_text(out, name, text);
}

static void put_layer(struct out *out, const struct ovl_layer_info *info)
{
	begin_object(out);
	put_text(out, "id", info->id);
	put_text(out, "parent", info->parent);
	put_text(out, "kind", info->kind == OVL_KIND_OVERLAY ? "overlay" : "root");
	put_text(out, "state", info->state == OVL_STATE_COMMITTED ? "committed" : "writable");
	put_text(out, "diff_id", info->diff_id);
	put_text(out, "blob_digest", info->blob_digest);
	put_text(out, "copied_from", info->copied_from);
	put_number(out, "size", info->size);
	put_number(out, "entries", info->entries);
	put_number(out, "tar_size", info->tar_size);
	put_number(out, "blob_size", info->blob_size);
	put_time(out, "created", info->created_sec, info->created_nsec);
	put_number(out, "lowers", info->lowers);
	put_number(out, "mounted", info->mounted);
	put_number(out, "unclean", info->unclean);
	if (out->json) {
		put_number(out, "skipped_devices", info->skipped_devices);
		put_number(out, "skipped_owners", info->skipped_owners);
		put_number(out, "skipped_xattrs", info->skipped_xattrs);
		put_number(out, "skipped_sockets", info->skipped_sockets);
		put_number(out, "skipped_names", info->skipped_names);
	}
	end_object(out);
}

static void put_image(struct out *out, const char *name, const struct ovl_image_info *info)
{
	begin_object(out);
	put_text(out, "name", name);
	put_text(out, "layer", info->layer);
	put_text(out, "manifest", info->manifest);
	put_text(out, "config", info->config);
	put_number(out, "size", info->size);
	put_number(out, "layers", info->layers);
	put_time(out, "created", info->created_sec, info->created_nsec);
	put_number(out, "blobs", info->blobs);
	put_number(out, "skipped_devices", info->skipped_devices);
	put_number(out, "skipped_owners", info->skipped_owners);
	put_number(out, "skipped_xattrs", info->skipped_xattrs);
	put_number(out, "made", info->made);
	end_object(out);
}

/* Success in part: the library counts, and whoever called should know. */
static void warn_skipped(const char *operation, const char *path, uint64_t count, const char *what)
{
	char text[96];

	if (count == 0)
		return;
	snprintf(text, sizeof text, "%" PRIu64 " %s", count, what);
	complain(operation, path, strlen(path), text);
}

static void warn_layer(const char *operation, const struct ovl_layer_info *info, const char *path)
{
	warn_skipped(operation, path, info->skipped_devices, "devices left out: not permitted here");
	warn_skipped(operation, path, info->skipped_owners, "owners not kept: not permitted here");
	warn_skipped(operation, path, info->skipped_xattrs, "extended attributes not kept");
	warn_skipped(operation, path, info->skipped_sockets, "sockets left out: a tar cannot hold them");
	warn_skipped(operation, path, info->skipped_names, "names starting with .wh. left out");
}

static void warn_image(const char *operation, const struct ovl_image_info *info, const char *name)
{
	warn_skipped(operation, name, info->skipped_devices, "devices left out: not permitted here");
	warn_skipped(operation, name, info->skipped_owners, "owners not kept: not permitted here");
	warn_skipped(operation, name, info->skipped_xattrs, "extended attributes not kept");
}

/* ---- The progress bar: on a terminal, and once the work has taken half a second ---- */

struct bar {
	const char *what;
	int input;              /* the file read from, to tell how much of it is done, or -1 */
	off_t total;
	struct timespec start;
	int drawn;
};

static struct bar bar_new(const char *what, int input)
{
	struct bar bar = { .what = what, .input = input };
	struct stat st;

	if (input >= 0 && fstat(input, &st) == 0 && S_ISREG(st.st_mode))
		bar.total = st.st_size;
	clock_gettime(CLOCK_MONOTONIC, &bar.start);
	return bar;
}

static int bar_draw(void *user, const struct ovl_progress *progress, size_t size)
{
	struct bar *bar = user;
	struct timespec now;
	off_t done = bar->total > 0 ? lseek(bar->input, 0, SEEK_CUR) : 0;

	(void)size;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - bar->start.tv_sec) * 1000 + (now.tv_nsec - bar->start.tv_nsec) / 1000000 < 500)
		return 0;
	bar->drawn = 1;
	fprintf(stderr, "\r%s ", bar->what);
	if (bar->total > 0 && done >= 0) {
		int filled = done >= bar->total ? 30 : (int)(done * 30 / bar->total);
		fprintf(stderr, "[%.*s%*s] %3d%% ", filled, "##############################",
			30 - filled, "", filled * 100 / 30);
	}
	fprintf(stderr, "%" PRIu64 " entries, %" PRIu64 " MB\033[K", progress->entries,
		progress->bytes / 1000000);
	return 0;
}

static ovl_progress_fn bar_function(void)
{
	return isatty(STDERR_FILENO) ? bar_draw : NULL;
}

static void bar_end(const struct bar *bar)
{
	if (bar->drawn)
		fputs("\r\033[K", stderr);
}

/* ---- The commands that are a call or two ---- */

/* gc goes past what it cannot remove; here it is told of. */
static void say_warning(void *user, uint32_t level, const char *message)
{
	const struct tool *tool = user;

	(void)level;
	complain(tool->command, tool->home, strlen(tool->home), message);
}

static int open_store(struct tool *tool, uint64_t flags)
{
	struct ovl_store_opts opts = {
		.flags = flags,
		.log = strcmp(tool->command, "gc") == 0 ? say_warning : NULL, .log_user = tool
	};
	struct ovl_error *error = NULL;

	if (!tool->home || !*tool->home)
		return fail(tool->command, "store", "none given: use --store DIR or set OVL_STORE");
	if (ovl_store_open(tool->home, &opts, sizeof opts, &tool->store, &error) < 0)
		return failed(tool, error, tool->home);
	return EXIT_SUCCESS;
}

/* What --durability says, and what is usual where it is not given. */
static int read_durability(const struct tool *tool, const struct args *args, uint32_t *durability)
{
	const char *word = args->durability;

	*durability = OVL_DURABILITY_DEFAULT;
	if (!word)
		return EXIT_SUCCESS;
	if (strcmp(word, "none") == 0)
		*durability = OVL_DURABILITY_NONE;
	else if (strcmp(word, "full") == 0)
		*durability = OVL_DURABILITY_FULL;
	else if (strcmp(word, "verified") == 0)
		*durability = OVL_DURABILITY_VERIFIED;
	else
		return fail(tool->command, "--durability", "must be none, full or verified");
	return EXIT_SUCCESS;
}

/* The same for what is not committed: it has no digests that could be kept. */
static int read_sync(const struct tool *tool, const struct args *args, uint64_t sync, uint64_t *flags)
{
	const char *word = args->durability;

	if (word && strcmp(word, "full") == 0)
		*flags |= sync;
	else if (word && strcmp(word, "none") != 0)
		return fail(tool->command, "--durability", "must be none or full");
	return EXIT_SUCCESS;
}

/* The layer as it is now; in text the commands that change a layer are silent. */
static int show_layer(struct tool *tool, const char *id)
{
	struct out out = out_new(tool);
	struct ovl_layer_info info;
	struct ovl_error *error = NULL;

	if (ovl_stat(tool->store, id, &info, sizeof info, &error) < 0)
		return failed(tool, error, id);
	put_layer(&out, &info);
	if (tool->json)
		putchar('\n');
	return EXIT_SUCCESS;
}

static int cmd_info(struct tool *tool, const struct args *args)
{
	return show_layer(tool, args->word[0]);
}

static int cmd_create(struct tool *tool, const struct args *args)
{
	const char *id = args->word[0], *parent = args->word[1];
	struct bar bar = bar_new("create", -1);
	struct ovl_create_opts opts = {
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_error *error = NULL;
	int said;

	if (read_sync(tool, args, OVL_CREATE_SYNC, &opts.flags) != EXIT_SUCCESS
	    || open_store(tool, 0) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	if (parent && !*parent)
		parent = NULL;
	said = ovl_create(tool->store, id, parent, &opts, sizeof opts, &error);
	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, id);
	return tool->json ? show_layer(tool, id) : EXIT_SUCCESS;
}

static int cmd_commit(struct tool *tool, const struct args *args)
{
	const char *id = args->word[0];
	struct bar bar = bar_new("commit", -1);
	struct ovl_commit_opts opts = {
		.flags = args->salvage ? OVL_COMMIT_SALVAGE : 0,
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_error *error = NULL;
	int said;

	if (read_durability(tool, args, &opts.durability) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	said = ovl_commit(tool->store, id, &opts, sizeof opts, &error);
	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, id);
	return tool->json ? show_layer(tool, id) : EXIT_SUCCESS;
}

static int cmd_rm(struct tool *tool, const struct args *args)
{
	struct bar bar = bar_new("rm", -1);
	struct ovl_remove_opts opts = {
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_error *error = NULL;
	int said = ovl_remove(tool->store, args->word[0], &opts, sizeof opts, &error);

	bar_end(&bar);
	return said < 0 ? failed(tool, error, args->word[0]) : EXIT_SUCCESS;
}

static int apply_stream(struct tool *tool, const char *id, int input, struct ovl_apply_opts *opts)
{
	struct out out = out_new(tool);
	struct bar bar = bar_new("apply", input);
	struct ovl_layer_info info;
	struct ovl_error *error = NULL;
	int said;

	opts->cancel = tool->cancel;
	opts->progress = bar_function();
	opts->progress_user = &bar;
	said = ovl_apply_layer(tool->store, id, input, opts, sizeof *opts, &info, sizeof info, &error);
	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, id);
	warn_layer("apply", &info, id);
	if (tool->json)
		put_layer(&out, &info);
	else
		fputs(info.diff_id, stdout);
	putchar('\n');
	return EXIT_SUCCESS;
}

/* The input first: a name that was mistyped must not leave a new, empty store. */
static int cmd_apply(struct tool *tool, const struct args *args)
{
	const char *path = args->word[1];
	struct ovl_apply_opts opts = { .parent = args->parent, .diff_id = args->diff_id };
	int input = STDIN_FILENO, status;

	if (opts.parent && !*opts.parent)
		opts.parent = NULL;
	if (args->kind && strcmp(args->kind, "root") == 0)
		opts.kind = OVL_KIND_ROOT;
	else if (args->kind && strcmp(args->kind, "overlay") == 0)
		opts.kind = OVL_KIND_OVERLAY;
	else if (args->kind)
		return fail("apply", "--kind", "must be root or overlay");
	if (read_durability(tool, args, &opts.durability) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	if (strcmp(path, "-") != 0)
		input = open(path, O_RDONLY | O_CLOEXEC);
	if (input < 0)
		return fail("apply", path, strerror(errno));
	status = open_store(tool, 0);
	if (status == EXIT_SUCCESS)
		status = apply_stream(tool, args->word[0], input, &opts);
	if (input != STDIN_FILENO)
		close(input);
	return status;
}

/* What SOURCE_DATE_EPOCH says, as other tools that make archives take it: no time is later. */
static int clamp_from_environment(struct ovl_diff_opts *opts)
{
	const char *text = getenv("SOURCE_DATE_EPOCH");
	char *end;

	if (text == NULL || *text == '\0')
		return EXIT_SUCCESS;
	errno = 0;
	opts->clamp_sec = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0' || *text < '0' || *text > '9')
		return fail("diff", "SOURCE_DATE_EPOCH", "must be seconds since 1970");
	opts->flags |= OVL_DIFF_CLAMP;
	return EXIT_SUCCESS;
}

static int cmd_diff(struct tool *tool, const struct args *args)
{
	struct bar bar = bar_new("diff", -1);
	struct ovl_diff_opts opts = {
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_layer_info info;
	struct ovl_error *error = NULL;
	int said;

	if (isatty(STDOUT_FILENO))
		return fail("diff", "standard output", "is a terminal; a tar belongs in a file or a pipe");
	if (clamp_from_environment(&opts) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	said = ovl_diff(tool->store, args->word[0], args->word[1], STDOUT_FILENO, &opts, sizeof opts,
			&info, sizeof info, &error);
	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, args->word[0]);
	warn_layer("diff", &info, args->word[0]);
	return EXIT_SUCCESS;
}

static int cmd_mount(struct tool *tool, const struct args *args)
{
	struct ovl_mount_opts opts = { .flags = OVL_MOUNT_KEEP, .target = args->word[1] };
	struct out out = out_new(tool);
	struct ovl_mnt *mnt = NULL;
	struct ovl_error *error = NULL;
	const char *path;

	if (args->read_only && args->volatile_)
		return fail("mount", "--volatile", "cannot be combined with --ro");
	if (args->read_only)
		opts.flags |= OVL_MOUNT_READ_ONLY;
	if (args->volatile_)
		opts.flags |= OVL_MOUNT_VOLATILE;
	if (ovl_mount(tool->store, args->word[0], &opts, sizeof opts, &mnt, &error) < 0)
		return failed(tool, error, args->word[0]);
	path = ovl_mnt_path(mnt);
	if (tool->json) {
		begin_object(&out);
		put_text(&out, "path", path);
		end_object(&out);
		putchar('\n');
	} else {
		puts(path);
	}
	ovl_mnt_free(mnt);      /* the mount was asked to stay */
	return EXIT_SUCCESS;
}

static int cmd_unmount(struct tool *tool, const struct args *args)
{
	struct ovl_error *error = NULL;

	if (ovl_unmount_at(tool->store, args->word[0], NULL, 0, &error) < 0)
		return failed(tool, error, args->word[0]);
	return EXIT_SUCCESS;
}

static int cmd_copy(struct tool *tool, const struct args *args)
{
	struct bar bar = bar_new("copy", -1);
	struct ovl_copy_opts opts = {
		.flags = args->hard_link ? OVL_COPY_HARD_LINK : 0,
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_copy_stats stats;
	struct out out = out_new(tool);
	struct ovl_error *error = NULL;
	const char *how = args->reflink ? args->reflink : "auto", *to = args->word[1];
	int said;

	if (args->hard_link && args->reflink)
		return fail("copy", "--hardlink", "cannot be combined with --reflink");
	if (strcmp(how, "always") == 0)
		opts.reflink = OVL_REFLINK_ALWAYS;
	else if (strcmp(how, "never") == 0)
		opts.reflink = OVL_REFLINK_NEVER;
	else if (strcmp(how, "auto") != 0)
		return fail("copy", "--reflink", "must be auto, always or never");
	if (read_sync(tool, args, OVL_COPY_SYNC, &opts.flags) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	said = ovl_copy_dir(AT_FDCWD, args->word[0], AT_FDCWD, to, &opts, sizeof opts,
			    &stats, sizeof stats, &error);
	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, args->word[0]);
	warn_skipped("copy", to, stats.skipped_devices, "devices left out: not permitted here");
	warn_skipped("copy", to, stats.skipped_owners, "owners not kept: not permitted here");
	warn_skipped("copy", to, stats.skipped_xattrs, "extended attributes not kept");
	warn_skipped("copy", to, stats.mounts_skipped, "other mounts in the source not entered");
	warn_skipped("copy", to, stats.vanished, "entries gone while the source was read");
	if (!tool->json)
		return EXIT_SUCCESS;
	begin_object(&out);
	put_number(&out, "entries", stats.entries);
	put_number(&out, "directories", stats.directories);
	put_number(&out, "copied", stats.copied);
	put_number(&out, "reflinked", stats.reflinked);
	put_number(&out, "linked", stats.linked);
	put_number(&out, "grouped", stats.grouped);
	put_number(&out, "bytes", stats.bytes);
	put_number(&out, "link_fallbacks", stats.link_fallbacks);
	put_number(&out, "mounts_skipped", stats.mounts_skipped);
	put_number(&out, "vanished", stats.vanished);
	put_number(&out, "skipped_owners", stats.skipped_owners);
	put_number(&out, "skipped_xattrs", stats.skipped_xattrs);
	put_number(&out, "skipped_devices", stats.skipped_devices);
	end_object(&out);
	putchar('\n');
	return EXIT_SUCCESS;
}

/* SECONDS, with a fraction or without, as milliseconds; -1 when it is none. */
static int64_t milliseconds(const char *text)
{
	char *end;
	int64_t whole, part = 0, digit = 100;

	errno = 0;
	whole = strtoll(text, &end, 10);
	if (errno != 0 || *text < '0' || *text > '9' || whole > INT64_MAX / 2000)
		return -1;
	if (*end == '.')
		for (end++; *end >= '0' && *end <= '9'; end++, digit /= 10)
			part += (*end - '0') * digit;
	return *end == '\0' ? whole * 1000 + part : -1;
}

static int cmd_gc(struct tool *tool, const struct args *args)
{
	struct bar bar = bar_new("gc", -1);
	struct ovl_cleanup_opts opts = {
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	int64_t budget = args->budget ? milliseconds(args->budget) : 0;
	struct ovl_cleanup_stats stats;
	struct out out = out_new(tool);
	struct ovl_error *error = NULL;
	int said;

	if (budget < 0)
		return fail("gc", "--budget", "must be seconds, as 2 or 0.5");
	if (args->budget)       /* 0 is the library's word for no limit */
		opts.budget_ms = budget ? (uint64_t)budget : 1;
	said = ovl_cleanup(tool->store, &opts, sizeof opts, &stats, sizeof stats, &error);
	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, tool->home);
	begin_object(&out);
	put_number(&out, "removed", stats.removed);
	put_number(&out, "busy", stats.busy);
	put_number(&out, "unmounted", stats.unmounted);
	put_number(&out, "dropped", stats.dropped);
	put_number(&out, "left", stats.left);
	end_object(&out);
	if (tool->json)
		putchar('\n');
	return EXIT_SUCCESS;
}

static int import_stream(struct tool *tool, const char *name, int input,
			 struct ovl_image_import_opts *opts)
{
	struct out out = out_new(tool);
	struct bar bar = bar_new("import", -1);
	struct ovl_image_info info;
	struct ovl_error *error = NULL;
	int said;

	opts->cancel = tool->cancel;
	opts->progress = bar_function();
	opts->progress_user = &bar;
	said = ovl_image_import(tool->store, name, input, opts, sizeof *opts, &info, sizeof info, &error);
	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, name);
	warn_image("import", &info, name);
	if (tool->json)
		put_image(&out, name, &info);
	else
		fputs(info.layer, stdout);
	putchar('\n');
	return EXIT_SUCCESS;
}

/* The input first, as in apply. */
static int cmd_import(struct tool *tool, const struct args *args)
{
	const char *path = args->word[0];
	struct ovl_image_import_opts opts = {
		.flags = args->keep_blobs ? OVL_IMPORT_KEEP_BLOBS : 0,
		.ref = args->ref, .platform = args->platform
	};
	int input = STDIN_FILENO, status;

	if (read_durability(tool, args, &opts.durability) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	if (strcmp(path, "-") != 0)
		input = open(path, O_RDONLY | O_CLOEXEC);
	if (input < 0)
		return fail("import", path, strerror(errno));
	status = open_store(tool, 0);
	if (status == EXIT_SUCCESS)
		status = import_stream(tool, args->word[1], input, &opts);
	if (input != STDIN_FILENO)
		close(input);
	return status;
}

static int export_to(struct tool *tool, const char *name, int output, int show)
{
	struct out out = out_new(tool);
	struct bar bar = bar_new("export", -1);
	struct ovl_image_export_opts opts = {
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_image_info info;
	struct ovl_error *error = NULL;
	int said = ovl_image_export(tool->store, name, output, &opts, sizeof opts, &info, sizeof info,
				    &error);

	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, name);
	warn_image("export", &info, name);
	if (!info.blobs)
		complain("export", name, strlen(name), "the layers were made anew, so digests differ from "
			 "those of the original (import with --keep-blobs to keep it)");
	if (!show)
		return EXIT_SUCCESS;
	if (tool->json)
		put_image(&out, name, &info);
	else
		fputs(info.manifest, stdout);
	putchar('\n');
	return EXIT_SUCCESS;
}

/* A file appears whole, and what has its name stays as it is until then. */
static int export_file(struct tool *tool, const char *name, const char *path)
{
	char temporary[PATH_MAX];
	mode_t mask = umask(0);
	int output, status;

	umask(mask);
	if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
		return fail("export", path, strerror(ENAMETOOLONG));
	output = mkostemp(temporary, O_CLOEXEC);
	if (output < 0)
		return fail("export", path, strerror(errno));
	status = export_to(tool, name, output, 1);
	if (status == EXIT_SUCCESS
	    && (fchmod(output, 0666 & ~mask) < 0 || fsync(output) < 0 || rename(temporary, path) < 0))
		status = fail("export", path, strerror(errno));
	close(output);
	if (status != EXIT_SUCCESS)
		unlink(temporary);
	return status;
}

static int cmd_export(struct tool *tool, const struct args *args)
{
	const char *name = args->word[0], *path = args->word[1];
	struct stat st;
	int output, status;

	if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO))
		return fail("export", "standard output", "is a terminal; a tar belongs in a file or a pipe");
	if (strcmp(path, "-") == 0)
		return export_to(tool, name, STDOUT_FILENO, 0);
	if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
		return export_file(tool, name, path);
	output = open(path, (S_ISDIR(st.st_mode) ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
	if (output < 0)
		return fail("export", path, strerror(errno));
	status = export_to(tool, name, output, 1);
	close(output);
	return status;
}

static int cmd_rmi(struct tool *tool, const struct args *args)
{
	struct bar bar = bar_new("rmi", -1);
	struct ovl_image_remove_opts opts = {
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_error *error = NULL;
	int said = ovl_image_remove(tool->store, args->word[0], &opts, sizeof opts, &error);

	bar_end(&bar);
	return said < 0 ? failed(tool, error, args->word[0]) : EXIT_SUCCESS;
}

/* ---- The commands that show a list ---- */

typedef int show_fn(struct tool *, struct out *, const struct ovl_item *);

/* Shows what an iterator gives, item by item, and frees it. */
static int show_items(struct tool *tool, struct ovl_iter *items, show_fn *show)
{
	struct out out = out_new(tool);
	struct ovl_item item;
	struct ovl_error *error = NULL;
	int more = 0, status = EXIT_SUCCESS;

	begin_list(&out);
	while (status == EXIT_SUCCESS && (more = ovl_iter_next(items, &item, sizeof item, &error)) > 0)
		status = show(tool, &out, &item);
	end_list(&out);
	ovl_iter_free(items);
	return more < 0 ? failed(tool, error, tool->home) : status;
}

/* In text the id alone, which scripts read; in JSON what is known of the layer. */
static int show_id(struct tool *tool, struct out *out, const struct ovl_item *item)
{
	struct ovl_layer_info info;
	struct ovl_error *error = NULL;
	int said;

	if (!out->json) {
		puts(item->name);
		return EXIT_SUCCESS;
	}
	said = ovl_stat(tool->store, item->name, &info, sizeof info, &error);
	if (said == -ENOENT) {          /* removed since it was listed */
		ovl_error_free(error);
		return EXIT_SUCCESS;
	}
	if (said < 0)
		return failed(tool, error, item->name);
	put_layer(out, &info);
	return EXIT_SUCCESS;
}

/* The same for images. One that lacks a layer is listed all the same, and said to. */
static int show_image(struct tool *tool, struct out *out, const struct ovl_item *item)
{
	struct ovl_image_info info = { .layers = item->what };
	struct ovl_error *error = NULL;

	if (!out->json) {
		puts(item->name);
		return EXIT_SUCCESS;
	}
	if (ovl_image_stat(tool->store, item->name, NULL, 0, &info, sizeof info, &error) < 0) {
		int gone = ovl_error_code(error) == OVL_E_NO_IMAGE;
		if (gone)               /* removed since it was listed */
			ovl_error_free(error);
		else
			failed(tool, error, item->name);
		if (gone)
			return EXIT_SUCCESS;
		snprintf(info.layer, sizeof info.layer, "%s", item->detail);
	}
	put_image(out, item->name, &info);
	return EXIT_SUCCESS;
}

static int cmd_images(struct tool *tool, const struct args *args)
{
	struct ovl_iter *items = NULL;
	struct ovl_error *error = NULL;

	(void)args;
	if (ovl_image_list(tool->store, NULL, 0, &items, &error) < 0)
		return failed(tool, error, tool->home);
	return show_items(tool, items, show_image);
}

static int cmd_list(struct tool *tool, const struct args *args)
{
	struct ovl_iter *items = NULL;
	struct ovl_error *error = NULL;

	(void)args;
	if (ovl_list(tool->store, NULL, 0, &items, &error) < 0)
		return failed(tool, error, tool->home);
	return show_items(tool, items, show_id);
}

static int show_change(struct tool *tool, struct out *out, const struct ovl_item *item)
{
	char what[2] = { (char)item->what, '\0' };

	(void)tool;
	if (!out->json) {
		printf("%s ", what);
		put_escaped(stdout, item->name, item->name_len);
		putchar('\n');
		return EXIT_SUCCESS;
	}
	begin_object(out);
	put_text(out, "what", what);
	put_bytes(out, "name", item->name, item->name_len);
	end_object(out);
	return EXIT_SUCCESS;
}

static int show_change_raw(struct tool *tool, struct out *out, const struct ovl_item *item)
{
	(void)tool;
	(void)out;
	printf("%c ", (int)item->what);
	fwrite(item->name, 1, item->name_len, stdout);
	putchar('\0');
	return EXIT_SUCCESS;
}

static int cmd_changes(struct tool *tool, const struct args *args)
{
	struct bar bar = bar_new("changes", -1);
	struct ovl_changes_opts opts = {
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_iter *items = NULL;
	struct ovl_error *error = NULL;
	int said;

	if (args->nul && tool->json)
		return fail("changes", "-z", "cannot be combined with --json");
	said = ovl_changes(tool->store, args->word[0], args->word[1], &opts, sizeof opts, &items, &error);
	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, args->word[0]);
	return show_items(tool, items, args->nul ? show_change_raw : show_change);
}

static void put_item(struct out *out, const struct ovl_item *item)
{
	begin_object(out);
	put_bytes(out, "name", item->name, item->name_len);
	put_bytes(out, "detail", item->detail, item->detail_len);
	put_number(out, "what", item->what);
	end_object(out);
}

static int show_capability(struct tool *tool, struct out *out, const struct ovl_item *item)
{
	(void)tool;
	if (out->json)
		put_item(out, item);
	else if (item->detail_len > 0)
		printf("%-4s%s: %s\n", item->what ? "yes" : "no", item->name, item->detail);
	else
		printf("%-4s%s\n", item->what ? "yes" : "no", item->name);
	return EXIT_SUCCESS;
}

static int cmd_status(struct tool *tool, const struct args *args)
{
	struct ovl_iter *items = NULL;
	struct ovl_error *error = NULL;

	(void)args;
	if (ovl_status(tool->store, NULL, 0, &items, &error) < 0)
		return failed(tool, error, tool->home);
	return show_items(tool, items, show_capability);
}

static int show_problem(struct tool *tool, struct out *out, const struct ovl_item *item)
{
	tool->problems += item->what == OVL_CHECK_DAMAGE;
	if (out->json) {
		put_item(out, item);
		return EXIT_SUCCESS;
	}
	put_escaped(stdout, item->name, item->name_len);
	fputs(": ", stdout);
	put_escaped(stdout, item->detail, item->detail_len);
	fputs(item->what == OVL_CHECK_REPAIRED ? " (repaired)\n"
	      : item->what == OVL_CHECK_NOTE ? " (note)\n" : "\n", stdout);
	return EXIT_SUCCESS;
}

static int cmd_check(struct tool *tool, const struct args *args)
{
	struct bar bar = bar_new("check", -1);
	struct ovl_check_opts opts = {
		.flags = args->repair ? OVL_CHECK_REPAIR : 0,
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_iter *items = NULL;
	struct ovl_error *error = NULL;
	int said = ovl_check(tool->store, &opts, sizeof opts, &items, &error);
	char text[64];

	bar_end(&bar);
	if (said < 0)
		return failed(tool, error, tool->home);
	said = show_items(tool, items, show_problem);
	if (said != EXIT_SUCCESS || tool->problems == 0)
		return said;
	snprintf(text, sizeof text, "%lu found", tool->problems);
	return fail("check", tool->home, text);
}

/* What a layer takes, or with NULL the whole store: a line of the table, or an object. */
static int show_usage(struct tool *tool, struct out *out, const char *id)
{
	struct bar bar = bar_new("usage", -1);
	struct ovl_usage_opts opts = {
		.cancel = tool->cancel, .progress = bar_function(), .progress_user = &bar
	};
	struct ovl_usage_info usage;
	struct ovl_error *error = NULL;
	int said = ovl_usage(tool->store, id, &opts, sizeof opts, &usage, sizeof usage, &error);

	bar_end(&bar);
	if (said == -ENOENT && tool->listing) {         /* removed since it was listed */
		ovl_error_free(error);
		return EXIT_SUCCESS;
	}
	if (said < 0)
		return failed(tool, error, id ? id : tool->home);
	if (!out->json) {
		if (!tool->headed)
			printf("%15s %15s %9s %9s  %s\n", "OWN BYTES", "SHARED BYTES", "INODES", "SHARED", "LAYER");
		tool->headed = 1;
		printf("%15" PRIu64 " %15" PRIu64 " %9" PRIu64 " %9" PRIu64 "  %s\n", usage.own_bytes,
		       usage.shared_bytes, usage.own_inodes, usage.shared_inodes, id ? id : "(the store)");
		return EXIT_SUCCESS;
	}
	begin_object(out);
	put_text(out, "id", id ? id : "");
	put_number(out, "own_bytes", usage.own_bytes);
	put_number(out, "shared_bytes", usage.shared_bytes);
	put_number(out, "own_inodes", usage.own_inodes);
	put_number(out, "shared_inodes", usage.shared_inodes);
	put_number(out, "own_size", usage.own_size);
	put_number(out, "shared_size", usage.shared_size);
	end_object(out);
	return EXIT_SUCCESS;
}

/* The layers, and then the store, in which nothing counts twice. */
static int cmd_usage(struct tool *tool, const struct args *args)
{
	struct out out = out_new(tool);
	struct ovl_iter *items = NULL;
	struct ovl_item item;
	struct ovl_error *error = NULL;
	int status = EXIT_SUCCESS;

	if (!args->words && ovl_list(tool->store, NULL, 0, &items, &error) < 0)
		return failed(tool, error, tool->home);
	begin_list(&out);
	if (args->words) {
		status = show_usage(tool, &out, args->word[0]);
	} else {
		tool->listing = 1;
		while (status == EXIT_SUCCESS
		       && ovl_iter_next(items, &item, sizeof item, NULL) > 0)
			status = show_usage(tool, &out, item.name);
		tool->listing = 0;
		if (status == EXIT_SUCCESS)
			status = show_usage(tool, &out, NULL);
	}
	end_list(&out);
	ovl_iter_free(items);
	return status;
}

/*
 * ---- run ----
 *
 *   ovl ── init (pid 1 of the new pid namespace) ── CMD
 *
 * ovl keeps the mount and waits; init builds the mounts in a mount namespace of its own, starts CMD
 * and reaps. When CMD ends init ends, and the kernel ends whatever else ran there and the mounts
 * with it. Should ovl be killed, so is init. A descriptor holds the layer's mount: no path of the
 * host ever shows it, and a kill leaves nothing behind.
 */

/* The mount calls that glibc has from 2.36 only. All give a descriptor or 0, or -errno. */

static int result(long said)
{
	return said < 0 ? -errno : (int)said;
}

/* A detached copy of the mount at `path`; with `recursive`, of those below it too. */
static int clone_mount(const char *path, int recursive)
{
	const unsigned clone_cloexec = 1 | O_CLOEXEC;

	return result(syscall(SYS_open_tree, AT_FDCWD, path, clone_cloexec | (recursive ? AT_RECURSIVE : 0)));
}

/* A detached new mount of `type`; nosuid, nodev and noexec. */
static int new_mount(const char *type)
{
	const unsigned cloexec = 1, set_string = 1, create = 6, nosuid_nodev_noexec = 2 | 4 | 8;
	int context = (int)syscall(SYS_fsopen, type, cloexec);
	int mount_fd = -1;

	if (context < 0)
		return -errno;
	if (syscall(SYS_fsconfig, context, set_string, "source", type, 0) == 0
	    && syscall(SYS_fsconfig, context, create, NULL, NULL, 0) == 0)
		mount_fd = (int)syscall(SYS_fsmount, context, cloexec, nosuid_nodev_noexec);
	mount_fd = result(mount_fd);
	close(context);
	return mount_fd;
}

static int attach(int mount_fd, const char *target)
{
	const unsigned from_fd_follow_target = 0x4 | 0x10;

	if (mount_fd < 0)
		return mount_fd;
	return result(syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, target, from_fd_follow_target));
}

static int set_read_only(const char *path)
{
	const unsigned long strict = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
#ifdef SYS_mount_setattr
	struct { uint64_t set, clear, propagation, userns_fd; } read_only = { .set = 1 };

	if (syscall(SYS_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, &read_only, sizeof read_only) == 0)
		return 0;
#endif
	return result(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | strict, NULL));     /* before 5.12 */
}

static const char *const device_names[] = { "null", "zero", "full", "random", "urandom", "tty" };
enum { DEVICES = sizeof device_names / sizeof *device_names };

/* Mounts made while the host's tree is in sight, to be attached when "/" is the layer: no symbolic
 * link in the layer can then lead one of them outside. Descriptors, or -errno. */
struct host {
	int device[DEVICES];
	int proc, sys, resolv;
};

static void host_prepare(struct host *host)
{
	char path[32];

	for (int i = 0; i < DEVICES; i++) {
		snprintf(path, sizeof path, "/dev/%s", device_names[i]);
		host->device[i] = clone_mount(path, 0);
	}
	host->proc = new_mount("proc");
	host->sys = new_mount("sysfs");
	if (host->sys < 0)      /* a user namespace may not have its own over the host's network */
		host->sys = clone_mount("/sys", 1);
	host->resolv = clone_mount("/etc/resolv.conf", 0);
}

/* A link to a directory is none: it may lead to "/" itself. */
static int is_directory(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What a restricted place does not permit is left out, and said. */
static void left_out(const char *path, int error)
{
	char text[128];

	snprintf(text, sizeof text, "left out: %s", strerror(error));
	complain("run", path, strlen(path), text);
}

/* For reading, or not at all. */
static void attach_read_only(int mount_fd, const char *path)
{
	int said = attach(mount_fd, path);

	if (said == 0) {
		said = set_read_only(path);
		if (said < 0)
			umount2(path, MNT_DETACH);
	}
	if (said < 0)
		left_out(path, -said);
}

static void make_device(int mount_fd, const char *name)
{
	char path[32];
	int node, said;

	if (mount_fd == -ENOENT)        /* the host has none */
		return;
	snprintf(path, sizeof path, "/dev/%s", name);
	node = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	said = node < 0 ? -errno : attach(mount_fd, path);
	if (said < 0)
		left_out(path, -said);
	if (node >= 0)
		close(node);
}

static void make_dir_mount(const char *path, const char *type, unsigned long flags, const char *options)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		left_out(path, errno);
	else if (mount(type, path, type, flags, options) < 0)
		left_out(path, errno);
}

static void make_dev(const struct host *host)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" },
		{ "pts/ptmx", "/dev/ptmx" },
	};

	if (mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k") < 0) {
		left_out("/dev", errno);
		return;
	}
	for (int i = 0; i < DEVICES; i++)
		make_device(host->device[i], device_names[i]);
	make_dir_mount("/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		       "newinstance,ptmxmode=0666,mode=0620");
	make_dir_mount("/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		if (symlink(links[i][0], links[i][1]) < 0)
			left_out(links[i][1], errno);
}

/* Opens a path of the layer's, which is "/" by now. Its links are followed, but for those of /proc that
 * lead to what a process has open: that need not be the layer's. */
static int open_inside(const char *path, uint64_t flags)
{
	struct { uint64_t flags, mode, resolve; } how = { .flags = flags | O_CLOEXEC, .resolve = 0x2 };

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

static int has_file(const char *path)
{
	struct stat st;
	int fd = open_inside(path, O_PATH), is_file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

	if (fd >= 0)
		close(fd);
	return is_file;
}

/* Closes all but the standard descriptors: a command in the layer would find what we, and whoever
 * called us, have open of the host's in /proc. The parent holds the layer. */
static void close_all(void)
{
	long most = sysconf(_SC_OPEN_MAX);

#ifdef SYS_close_range
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0)
		return;
#endif
	for (int fd = STDERR_FILENO + 1; fd < (most > 0 ? most : 65536); fd++)   /* before 5.9 */
		close(fd);
}

/* The mounts over the layer's own directories; what the layer does not have is not made. */
static void make_mounts(const struct host *host)
{
	mode_t mask = umask(0);

	if (is_directory("/proc")) {
		int said = attach(host->proc, "/proc");
		if (said < 0)
			left_out("/proc", -said);
	}
	if (is_directory("/sys"))
		attach_read_only(host->sys, "/sys");
	if (is_directory("/dev"))
		make_dev(host);
	if (host->resolv >= 0 && has_file("/etc/resolv.conf"))
		attach_read_only(host->resolv, "/etc/resolv.conf");
	umask(mask);
}

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

/* Memory that cannot be had ends the program: it has done nothing yet that needs undoing. */
static void *have(void *memory)
{
	if (!memory) {
		fail("run", "memory", strerror(ENOMEM));
		exit(EXIT_OVL);
	}
	return memory;
}

static void add_word(struct words *list, const char *word)
{
	if (list->count + 1 >= list->room) {
		list->room = list->room ? 2 * list->room : 16;
		list->word = have(realloc(list->word, list->room * sizeof *list->word));
	}
	list->word[list->count++] = have(strdup(word));
	list->word[list->count] = NULL;
}

static void free_words(struct words *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->word[i]);
	free(list->word);
}

/* The layer to run in: a detached mount, or one that is at a path already. */
struct place {
	const char *id, *home, *path;
	const struct image *image;              /* what it was made of, or NULL */
	int fd;
	int no_groups;                          /* this user namespace lets nobody set groups */
};

/* Makes the layer this process's "/", with its mounts, in namespaces of its own. */
static int enter(const struct place *place)
{
	struct host host;
	int said;

	if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) < 0)
		return fail("run", place->id, strerror(errno));
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail("run", "/", strerror(errno));
	host_prepare(&host);
	/* In this namespace the store itself is as good a mount point as any. */
	said = place->path ? result(chdir(place->path)) : attach(place->fd, place->home);
	if (said == 0 && !place->path)
		said = result(fchdir(place->fd));
	if (said < 0)
		return fail("run", place->path ? place->path : place->home, strerror(-said));
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		said = result(umount2(".", MNT_DETACH));
	else
		said = result(chroot("."));     /* within a chroot, or on an initial ramfs */
	if (said == 0)
		said = result(chdir("/"));
	if (said == 0)
		said = result(sethostname(place->id, strnlen(place->id, 64)));
	if (said < 0)
		return fail("run", place->id, strerror(-said));
	make_mounts(&host);
	close_all();
	return 0;
}

/* Waits for `child`, reaps whatever else is ours, and hands on the signals that a process sent: to
 * those of the terminal CMD is as near as we are. */
static int supervise(pid_t child, const sigset_t *signals)
{
	siginfo_t signal_info;
	int status;
	pid_t pid;

	for (;;) {
		if (sigwaitinfo(signals, &signal_info) < 0)
			continue;
		if (signal_info.si_signo != SIGCHLD) {
			if (signal_info.si_code <= 0)
				kill(child, signal_info.si_signo);
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
	}
}

/* Whom a command runs as. */
struct identity {
	uid_t uid;
	gid_t gid, groups[64];
	size_t group_count;
	char home[256];
};

/* A file of the layer's, which may be anything: only a plain one is read. */
static FILE *open_plain(const char *path)
{
	int fd = open_inside(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	FILE *file = NULL;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		file = fdopen(fd, "r");
	if (!file && fd >= 0)
		close(fd);
	return file;
}

/* 1 and the number where a word is one, as a user or group may be. */
static int is_number(const char *word, unsigned *number)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(word, &end, 10);
	if (*word < '0' || *word > '9' || *end || errno || value > INT_MAX)
		return 0;
	*number = (unsigned)value;
	return 1;
}

/* The user by the layer's own /etc/passwd, without the host's name service. A number needs none. */
static int find_user(const char *user, struct identity *who, char *name, size_t size)
{
	FILE *file = open_plain("/etc/passwd");
	struct passwd *one = NULL;
	unsigned uid = 0;
	int numeric = is_number(user, &uid);

	while (file && (one = fgetpwent(file)) != NULL)
		if (numeric ? one->pw_uid == uid : strcmp(one->pw_name, user) == 0)
			break;
	if (one) {
		who->uid = one->pw_uid;
		who->gid = one->pw_gid;
		snprintf(who->home, sizeof who->home, "%s", one->pw_dir);
		snprintf(name, size, "%s", one->pw_name);
	} else if (numeric) {
		who->uid = uid;
	}
	if (file)
		fclose(file);
	return one || numeric ? 0 : fail("run", user, "the layer has no such user");
}

/* The group that is asked for, or else those that `name` is a member of. */
static int find_groups(const char *group, const char *name, struct identity *who)
{
	const size_t most = sizeof who->groups / sizeof *who->groups;
	FILE *file = open_plain("/etc/group");
	struct group *one;
	unsigned gid = 0;
	int numeric = group && is_number(group, &gid), found = numeric;

	if (numeric)
		who->gid = gid;
	while (file && (one = fgetgrent(file)) != NULL) {
		if (group && !found && strcmp(one->gr_name, group) == 0) {
			who->gid = one->gr_gid;
			found = 1;
		}
		for (char **member = one->gr_mem; !group && *name && *member; member++)
			if (strcmp(*member, name) == 0 && who->group_count < most)
				who->groups[who->group_count++] = one->gr_gid;
	}
	if (file)
		fclose(file);
	return !group || found ? 0 : fail("run", group, "the layer has no such group");
}

/* Whether this is a user namespace in which setgroups(2) is not permitted. */
static int groups_are_denied(void)
{
	char word[8] = "";
	int fd = open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, word, sizeof word - 1) < 0)
		word[0] = '\0';
	close(fd);
	return strncmp(word, "deny", 4) == 0;
}

/* Becomes the user of the image: "user", "uid", "user:group" or "uid:gid"; without one, root. */
static int become(const char *user, int no_groups, struct identity *who)
{
	char words[512], name[256] = "";
	char *group;

	if (snprintf(words, sizeof words, "%s", user && *user ? user : "0") >= (int)sizeof words)
		return fail("run", user, "the user's name is too long");
	group = strchr(words, ':');
	if (group)
		*group++ = '\0';
	if (group && !*group)
		group = NULL;
	if (find_user(*words ? words : "0", who, name, sizeof name) != 0 || find_groups(group, name, who) != 0)
		return -1;
	/* The caller's groups stay in a user namespace alone that lets nobody set any. */
	if (setgroups(who->group_count, who->groups) < 0 && !(errno == EPERM && no_groups))
		return fail("run", user ? user : "0", strerror(errno));
	if ((who->gid != getegid() && setgid(who->gid) < 0) || (who->uid != geteuid() && setuid(who->uid) < 0)) {
		fail("run", user ? user : "0", errno == EINVAL ? "this user namespace has no such user or group"
		     : strerror(errno));
		return -1;
	}
	return 0;
}

/* Where the command starts; made where it is missing, with all that leads to it. */
static int start_in(const char *dir)
{
	const uint64_t directory = O_PATH | O_DIRECTORY;
	char path[PATH_MAX], *end;
	int at = open_inside("/", directory), said = 0;

	if (snprintf(path, sizeof path, "/%s/", dir) >= (int)sizeof path)
		return fail("run", dir, strerror(ENAMETOOLONG));
	for (char *part = path + 1; at >= 0 && (end = strchr(part, '/')) != NULL; part = end + 1) {
		int next;

		*end = '\0';
		next = open_inside(path, directory);
		if (next < 0 && errno == ENOENT && mkdirat(at, part, 0755) == 0)
			next = open_inside(path, directory);
		said = errno;
		close(at);
		at = next;
		*end = '/';
	}
	if (at < 0)
		return fail("run", dir, strerror(said));
	said = result(fchdir(at));
	close(at);
	return said < 0 ? fail("run", dir, strerror(-said)) : 0;
}

static void add_variable(struct words *list, const char *key, const char *value)
{
	char *text = have(malloc(strlen(key) + strlen(value) + 2));

	sprintf(text, "%s=%s", key, value);
	add_word(list, text);
	free(text);
}

/* By key; of one key in the order of the list, as the words' places in it. */
static int compare_variables(const void *a, const void *b)
{
	const char *const *one = *(const char *const *const *)a, *const *other = *(const char *const *const *)b;
	size_t one_key = strcspn(*one, "="), other_key = strcspn(*other, "=");
	int said = memcmp(*one, *other, one_key < other_key ? one_key : other_key);

	if (said == 0 && one_key != other_key)
		said = one_key < other_key ? -1 : 1;
	return said ? said : (one > other) - (one < other);
}

/* Of the variables with one name the last stays; the others keep their order. */
static void keep_last(struct words *list)
{
	char ***place = have(malloc((list->count + 1) * sizeof *place));
	size_t left = 0;

	for (size_t i = 0; i < list->count; i++)
		place[i] = &list->word[i];
	qsort(place, list->count, sizeof *place, compare_variables);
	for (size_t i = 0; i + 1 < list->count; i++) {
		size_t key = strcspn(*place[i], "=") + 1;

		if (strncmp(*place[i], *place[i + 1], key) == 0) {
			free(*place[i]);
			*place[i] = NULL;
		}
	}
	for (size_t i = 0; i < list->count; i++)
		if (list->word[i])
			list->word[left++] = list->word[i];
	list->word[left] = NULL;
	list->count = left;
	free(place);
}

static const char usual_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* What the image says: directory, user, environment. Of our own environment TERM alone goes on. */
static int prepare(const struct place *place)
{
	const struct image *image = place->image;
	const char *term = isatty(STDIN_FILENO) ? getenv("TERM") : NULL;
	struct identity who = { .home = "/" };
	struct words env = { NULL, 0, 0 };

	if ((image->dir && start_in(image->dir) != 0) || become(image->user, place->no_groups, &who) != 0)
		return EXIT_OVL;
	add_variable(&env, "PATH", usual_path);
	add_variable(&env, "HOSTNAME", place->id);
	add_variable(&env, "HOME", who.home);
	if (term)
		add_variable(&env, "TERM", term);
	for (size_t i = 0; i < image->env.count; i++)
		if (strchr(image->env.word[i], '=') && image->env.word[i][0] != '=')
			add_word(&env, image->env.word[i]);
	keep_last(&env);
	environ = env.word;
	return 0;
}

/* Replaces this process by CMD, looked for in the layer. */
static int execute(const struct place *place, char **command)
{
	static char *const shell[] = { "/bin/sh", NULL };
	char *const *argv = *command ? command : shell;

	if (place->image && prepare(place) != 0)
		return EXIT_OVL;
	if (!place->image)
		setenv("PATH", usual_path, 1);
	execvp(argv[0], argv);
	if (errno == ENOENT) {
		int there = strchr(argv[0], '/') && access(argv[0], F_OK) == 0;
		fail("run", argv[0], there ? "its loader or interpreter is not in the layer"
		     : "not found in the layer");
		return EXIT_NOT_FOUND;
	}
	fail("run", argv[0], strerror(errno));
	return EXIT_NOT_RUN;
}

/* The life of pid 1. */
static int init_main(const struct place *place, char **command, const sigset_t *signals,
		     const sigset_t *usual)
{
	pid_t child;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter(place) != 0)
		return EXIT_OVL;
	child = fork();
	if (child < 0) {
		fail("run", place->id, strerror(errno));
		return EXIT_OVL;
	}
	if (child == 0) {
		sigprocmask(SIG_SETMASK, usual, NULL);
		return execute(place, command);
	}
	return supervise(child, signals);
}

static int run_in(const struct place *place, char **command)
{
	static const int ours[] = { SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
	pid_t foreground = tcgetpgrp(STDIN_FILENO), init;
	sigset_t signals, usual;
	int status;

	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		sigaddset(&signals, ours[i]);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &signals, &usual);
	fflush(NULL);
	if (unshare(CLONE_NEWPID) < 0) {
		fail("run", place->id, strerror(errno));
		return EXIT_OVL;
	}
	init = fork();
	if (init < 0) {
		fail("run", place->id, strerror(errno));
		return EXIT_OVL;
	}
	if (init == 0)
		_exit(init_main(place, command, &signals, &usual));
	status = supervise(init, &signals);
	if (foreground == getpgrp()) {          /* a shell in there may have taken the terminal */
		signal(SIGTTOU, SIG_IGN);
		tcsetpgrp(STDIN_FILENO, foreground);
	}
	return status;
}

/* A detached mount if the layer is free; else the mount that it has, if we can see it. */
static int run_mount(struct tool *tool, const char *id, int volatile_, struct ovl_mnt **mnt)
{
	struct ovl_mount_opts opts = {
		.flags = OVL_MOUNT_DETACHED | (volatile_ ? OVL_MOUNT_VOLATILE : 0)
	};
	struct ovl_layer_info info;
	struct ovl_error *error = NULL;
	int said;

	if (ovl_stat(tool->store, id, &info, sizeof info, &error) < 0)
		return failed(tool, error, id);
	if (info.state == OVL_STATE_COMMITTED)
		opts.flags |= OVL_MOUNT_READ_ONLY;
	said = ovl_mount(tool->store, id, &opts, sizeof opts, mnt, &error);
	if (said == -EBUSY) {
		ovl_error_free(error);
		error = NULL;
		opts.flags &= ~(uint64_t)OVL_MOUNT_DETACHED;
		said = ovl_mount(tool->store, id, &opts, sizeof opts, mnt, &error);
	}
	return said < 0 ? failed(tool, error, id) : 0;
}

/* Runs CMD in the layer of `place`; what is not said there yet is filled in. */
static int run_layer(struct tool *tool, struct place *place, int volatile_, char **command)
{
	struct ovl_mnt *mnt = NULL;
	struct ovl_error *error = NULL;
	int status;

	if (run_mount(tool, place->id, volatile_, &mnt) != 0)
		return EXIT_OVL;
	place->home = tool->home;
	place->fd = ovl_mnt_fd(mnt);
	place->path = ovl_mnt_path(mnt);
	if (place->path && !*place->path)
		place->path = NULL;
	place->no_groups = groups_are_denied();
	status = run_in(place, command);
	if (ovl_unmount(mnt, NULL, 0, &error) < 0) {
		failed(tool, error, place->id);
		ovl_mnt_free(mnt);
		return EXIT_OVL;
	}
	return status;
}

/* ---- run --image: a layer of its own for a command of the image ---- */

static void set_word(char **word, const char *text)
{
	free(*word);
	*word = have(strdup(text));
}

static int read_image(struct tool *tool, const char *name, struct image *image)
{
	struct ovl_iter *items = NULL;
	struct ovl_item item;
	struct ovl_error *error = NULL;
	int more;

	if (ovl_image_config(tool->store, name, NULL, 0, &items, &error) < 0)
		return failed(tool, error, name);
	while ((more = ovl_iter_next(items, &item, sizeof item, &error)) > 0) {
		switch (item.what) {
		case OVL_CONFIG_ENV: add_word(&image->env, item.name); break;
		case OVL_CONFIG_ENTRYPOINT: add_word(&image->entrypoint, item.name); break;
		case OVL_CONFIG_CMD: add_word(&image->cmd, item.name); break;
		case OVL_CONFIG_WORKING_DIR: set_word(&image->dir, item.name); break;
		case OVL_CONFIG_USER: set_word(&image->user, item.name); break;
		case OVL_CONFIG_LAYER: set_word(&image->layer, item.name); break;
		default: break;
		}
	}
	ovl_iter_free(items);
	return more < 0 ? failed(tool, error, name) : 0;
}

static void free_image(struct image *image)
{
	free_words(&image->env);
	free_words(&image->entrypoint);
	free_words(&image->cmd);
	free(image->dir);
	free(image->user);
	free(image->layer);
}

/* An id of the last part of the image's name, and something random. */
static int make_id(const char *name, char *id, size_t size)
{
	const char *last = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	unsigned random;

	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		return fail("run", name, strerror(errno));
	while (*last && !((*last >= '0' && *last <= '9') || (*last >= 'A' && *last <= 'Z')
			  || (*last >= 'a' && *last <= 'z')))
		last++;
	snprintf(id, size, "%.100s-%08x", *last ? last : "image", random);
	for (; *id; id++)
		if (*id == ':')
			*id = '-';
	return 0;
}

/* Makes the container's layer. */
static int create_for(struct tool *tool, const struct args *args, const struct image *image, char *id,
		      size_t size)
{
	struct ovl_error *error = NULL;
	int said;

	do {
		ovl_error_free(error);
		error = NULL;
		if (args->name)
			snprintf(id, size, "%s", args->name);
		else if (make_id(args->image, id, size) != 0)
			return -1;
		said = ovl_create(tool->store, id, image->layer, NULL, 0, &error);
	} while (said == -EEXIST && !args->name);
	return said < 0 ? failed(tool, error, id) : 0;
}

static int run_image(struct tool *tool, const struct args *args)
{
	struct image image = { .dir = NULL };
	struct ovl_error *error = NULL;
	struct place place = { .image = &image };
	struct words command = { NULL, 0, 0 };
	char id[136];
	int status = EXIT_OVL;

	if (args->name && strlen(args->name) >= sizeof id)
		return fail("run", args->name, "no id of a layer"), EXIT_OVL;
	if (read_image(tool, args->image, &image) != 0)
		goto end;
	for (size_t i = 0; i < image.entrypoint.count; i++)
		add_word(&command, image.entrypoint.word[i]);
	for (char **word = *args->rest ? args->rest : image.cmd.word; word && *word; word++)
		add_word(&command, *word);
	if (!command.count) {
		fail("run", args->image, "the image says no command; give one");
		goto end;
	}
	if (create_for(tool, args, &image, id, sizeof id) != 0)
		goto end;
	place.id = id;
	status = run_layer(tool, &place, args->volatile_, command.word);
	if (args->remove && ovl_remove(tool->store, id, NULL, 0, &error) < 0) {
		failed(tool, error, id);
		status = EXIT_OVL;
	}
end:
	free_words(&command);
	free_image(&image);
	return status;
}

static int cmd_run(struct tool *tool, const struct args *args)
{
	struct place place = { .id = args->word[0] };

	if (args->image)
		return run_image(tool, args);
	if (args->name || args->remove) {
		fail("run", args->name ? "--name" : "--rm", "goes with --image");
		return EXIT_OVL;
	}
	return run_layer(tool, &place, args->volatile_, args->rest);
}

/* ---- The command line ---- */

enum {                          /* which options a command takes, and what it needs */
	PARENT = 1 << 0, KIND = 1 << 1, DIFF_ID = 1 << 2, READ_ONLY = 1 << 3, NUL = 1 << 4,
	HARD_LINK = 1 << 5, REFLINK = 1 << 6, SALVAGE = 1 << 7, VOLATILE = 1 << 12, REPAIR = 1 << 13,
	NO_STORE = 1 << 8,      /* needs none, or opens it itself */
	DURABILITY = 1 << 9,
	BUDGET = 1 << 11,
	KEEP_BLOBS = 1 << 14, REF = 1 << 15, PLATFORM = 1 << 16,
	RUN = 1 << 10           /* all after the first word is a command of its own */
};

static const struct command {
	const char *name, *usage, *help;
	int least, most;
	unsigned takes;
	int (*function)(struct tool *, const struct args *);
} commands[] = {
	{ "create", "ID [PARENT] [--durability none|full]", "a new writable layer, on PARENT if one is given",
	  1, 2, NO_STORE | DURABILITY, cmd_create },
	{ "apply", "ID [--parent PARENT] [--kind root|overlay] [--diff-id sha256:HEX] [--durability none|full|verified] FILE|-",
	  "a layer from a layer tar (plain, gzip or zstd); prints its diff ID",
	  2, 2, NO_STORE | PARENT | KIND | DIFF_ID | DURABILITY, cmd_apply },
	{ "commit", "ID [--salvage] [--durability none|full|verified]",
	  "the layer never changes again; --salvage also after a crash of the machine under it",
	  1, 1, SALVAGE | DURABILITY, cmd_commit },
	{ "rm", "ID", "remove the layer", 1, 1, 0, cmd_rm },
	{ "list", "", "the layers' ids", 0, 0, 0, cmd_list },
	{ "info", "ID", "what is known of the layer", 1, 1, 0, cmd_info },
	{ "status", "", "what this machine and this disk can do", 0, 0, 0, cmd_status },
	{ "mount", "ID [DIR] [--ro | --volatile]",
	  "mount the layer until `ovl unmount`; prints the path. --volatile never syncs it",
	  1, 2, READ_ONLY | VOLATILE, cmd_mount },
	{ "unmount", "ID|DIR", "end a mount", 1, 1, 0, cmd_unmount },
	{ "run", "[--volatile] ID|--image NAME [--name ID] [--rm] [--] [CMD [ARG...]]",
	  "run CMD (/bin/sh) chrooted in the layer, or in a new one over the image, as that says.\n"
	  "        This is no sandbox: CMD has your rights and your network",
	  1, 1, RUN | VOLATILE, cmd_run },
	{ "diff", "ID [PARENT]", "the layer tar, on standard output; PARENT '' is nothing",
	  1, 2, 0, cmd_diff },
	{ "changes", "ID [PARENT] [-z]", "\"A /path\", \"C /path\", \"D /path\"; -z ends each with NUL",
	  1, 2, NUL, cmd_changes },
	{ "import", "[--keep-blobs] [--ref REF] [--platform OS/ARCH] [--durability none|full|verified] FILE|DIR|- NAME",
	  "an image from an OCI archive or layout, or docker save; prints its topmost layer",
	  2, 2, NO_STORE | DURABILITY | KEEP_BLOBS | REF | PLATFORM, cmd_import },
	{ "export", "NAME FILE|DIR|-", "the image as an OCI archive, or as a layout in an empty directory",
	  2, 2, 0, cmd_export },
	{ "images", "", "the images' names", 0, 0, 0, cmd_images },
	{ "rmi", "NAME", "remove the image, and its layers that nobody else uses", 1, 1, 0, cmd_rmi },
	{ "copy", "[--hardlink | --reflink=auto|always|never] [--durability none|full] SRC DST",
	  "copy a directory tree", 2, 2, NO_STORE | DURABILITY | HARD_LINK | REFLINK, cmd_copy },
	{ "check", "[--repair]",
	  "look for damage in the whole store; --repair mends what can be mended without losing anything",
	  0, 0, REPAIR, cmd_check },
	{ "gc", "[--budget SECONDS]", "remove what interrupted work left behind", 0, 0, BUDGET, cmd_gc },
	{ "usage", "[ID]", "what layers take on the disk: bytes of their own, and shared with others",
	  0, 1, 0, cmd_usage },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(void)
{
	puts("usage: ovl [--store DIR] [--json] COMMAND\n\n"
	     "libovl's container layers. DIR defaults to $OVL_STORE.\n");
	for (int i = 0; i < COMMANDS; i++)
		printf("  %s%s%s\n        %s\n", commands[i].name, *commands[i].usage ? " " : "",
		       commands[i].usage, commands[i].help);
	puts("\nExit status 0, or 1 with one line on standard error: ovl: OPERATION: PATH: MESSAGE.\n"
	     "run exits with CMD's status (128+N for signal N), 125 when ovl fails, 126 or 127 when\n"
	     "CMD cannot be run or found.");
}

/* Takes `word` as an option of `command`; 1 when its value was the next argument, -1 when refused. */
static int take_option(const struct command *command, struct args *args, char *word, char *next)
{
	const struct {
		const char *name;
		unsigned bit;
		int *flag;
		const char **value;
	} options[] = {
		{ "--parent", PARENT, NULL, &args->parent },
		{ "--kind", KIND, NULL, &args->kind },
		{ "--diff-id", DIFF_ID, NULL, &args->diff_id },
		{ "--reflink", REFLINK, NULL, &args->reflink },
		{ "--ro", READ_ONLY, &args->read_only, NULL },
		{ "-z", NUL, &args->nul, NULL },
		{ "--hardlink", HARD_LINK, &args->hard_link, NULL },
		{ "--salvage", SALVAGE, &args->salvage, NULL },
		{ "--volatile", VOLATILE, &args->volatile_, NULL },
		{ "--repair", REPAIR, &args->repair, NULL },
		{ "--budget", BUDGET, NULL, &args->budget },
		{ "--durability", DURABILITY, NULL, &args->durability },
		{ "--keep-blobs", KEEP_BLOBS, &args->keep_blobs, NULL },
		{ "--ref", REF, NULL, &args->ref },
		{ "--platform", PLATFORM, NULL, &args->platform },
		{ "--image", RUN, NULL, &args->image },
		{ "--name", RUN, NULL, &args->name },
		{ "--rm", RUN, &args->remove, NULL },
	};
	size_t len = strcspn(word, "=");

	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		if (strlen(options[i].name) != len || strncmp(options[i].name, word, len) != 0
		    || !(command->takes & options[i].bit))
			continue;
		if (options[i].flag && !word[len]) {
			*options[i].flag = 1;
			return 0;
		}
		if (options[i].value && (word[len] || next)) {
			*options[i].value = word[len] ? word + len + 1 : next;
			return !word[len];
		}
		fail(command->name, word, options[i].flag ? "takes no value" : "needs a value");
		return -1;
	}
	fail(command->name, word, "unknown option");
	return -1;
}

/* Reads what follows the command's name. */
static int read_args(const struct command *command, char **argv, struct args *args)
{
	int options = 1;

	for (; *argv; argv++) {
		if (options && strcmp(*argv, "--") == 0) {
			options = 0;
			if (args->image) {
				argv++;
				break;
			}
		} else if (options && (*argv)[0] == '-' && (*argv)[1]) {
			int took = take_option(command, args, *argv, argv[1]);
			if (took < 0)
				return -1;
			argv += took;
		} else if (args->image) {
			break;
		} else if (args->words == command->most) {
			fail(command->name, *argv, "one argument too many");
			return -1;
		} else {
			args->word[args->words++] = *argv;
			if (command->takes & RUN) {
				args->rest = argv + 1;
				if (*args->rest && strcmp(*args->rest, "--") == 0)
					args->rest++;
				break;
			}
		}
	}
	if (args->image) {              /* it stands for the layer */
		args->rest = argv;
		return 0;
	}
	if (args->words >= command->least)
		return 0;
	fprintf(stderr, "ovl: %s: usage: ovl %s %s\n", command->name, command->name, command->usage);
	return -1;
}

static struct ovl_cancel *interrupt;

static void on_signal(int number)
{
	(void)number;
	ovl_cancel_trigger(interrupt);
}

/* The first signal cancels the call, which then undoes its work; the second kills as usual. One
 * that is ignored, as under nohup, stays ignored. */
static void cancel_on_signals(struct tool *tool)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	struct sigaction before;

	tool->cancel = interrupt = ovl_cancel_new();
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
}

static int run_command(struct tool *tool, const struct command *command, char **argv)
{
	struct args args = { .words = 0 };
	int failure = command->takes & RUN ? EXIT_OVL : EXIT_FAILURE;
	int status;

	tool->command = command->name;
	if (*argv && (strcmp(*argv, "--help") == 0 || strcmp(*argv, "-h") == 0)) {
		printf("usage: ovl [--store DIR] [--json] %s%s%s\n%s.\n", command->name,
		       *command->usage ? " " : "", command->usage, command->help);
		return EXIT_SUCCESS;
	}
	if (read_args(command, argv, &args) < 0)
		return failure;
	if (!(command->takes & NO_STORE) && open_store(tool, OVL_STORE_MUST_EXIST) != EXIT_SUCCESS)
		return failure;
	if (!(command->takes & RUN))
		cancel_on_signals(tool);
	status = command->function(tool, &args);
	ovl_store_free(tool->store);
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_SUCCESS)
		status = fail(command->name, "standard output", strerror(errno));
	return status;
}

int main(int argc, char **argv)
{
	struct tool tool = { .home = getenv("OVL_STORE") };
	int status;

	(void)argc;
	for (argv++; *argv && (*argv)[0] == '-'; argv++) {
		if (strcmp(*argv, "--help") == 0 || strcmp(*argv, "-h") == 0) {
			help();
			return EXIT_SUCCESS;
		} else if (strcmp(*argv, "--version") == 0) {
			printf("ovl %s\n", ovl_version());
			return EXIT_SUCCESS;
		} else if (strcmp(*argv, "--json") == 0) {
			tool.json = 1;
		} else if (strncmp(*argv, "--store=", 8) == 0) {
			tool.home = *argv + 8;
		} else if (strcmp(*argv, "--store") == 0 && argv[1]) {
			tool.home = *++argv;
		} else {
			return fail("usage", *argv, "unknown option, or one without its value; see ovl --help");
		}
	}
	if (!*argv)
		return fail("usage", "COMMAND", "none given; see ovl --help");
	for (int i = 0; i < COMMANDS; i++) {
		if (strcmp(*argv, commands[i].name) == 0) {
			status = run_command(&tool, &commands[i], argv + 1);
			ovl_cancel_free(tool.cancel);
			return status;
		}
	}
	return fail("usage", *argv, "unknown command; see ovl --help");
}
