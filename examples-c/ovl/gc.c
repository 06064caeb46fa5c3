/* gc: what interrupted work left behind goes. */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>

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

int cmd_gc(struct tool *tool, const struct args *args)
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
