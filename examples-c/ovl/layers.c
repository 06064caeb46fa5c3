/* The commands of one layer. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

int cmd_info(struct tool *tool, const struct args *args)
{
	return show_layer(tool, args->word[0]);
}

int cmd_create(struct tool *tool, const struct args *args)
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

int cmd_commit(struct tool *tool, const struct args *args)
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

int cmd_rm(struct tool *tool, const struct args *args)
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
int cmd_apply(struct tool *tool, const struct args *args)
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

int cmd_diff(struct tool *tool, const struct args *args)
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

int cmd_mount(struct tool *tool, const struct args *args)
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

int cmd_unmount(struct tool *tool, const struct args *args)
{
	struct ovl_error *error = NULL;

	if (ovl_unmount_at(tool->store, args->word[0], NULL, 0, &error) < 0)
		return failed(tool, error, args->word[0]);
	return EXIT_SUCCESS;
}
