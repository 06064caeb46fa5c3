/* copy: a directory tree, without a store. */
#include "tool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

int cmd_copy(struct tool *tool, const struct args *args)
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
