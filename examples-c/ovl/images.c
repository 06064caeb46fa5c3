/* The commands of one image. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
int cmd_import(struct tool *tool, const struct args *args)
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

int cmd_export(struct tool *tool, const struct args *args)
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

int cmd_rmi(struct tool *tool, const struct args *args)
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
