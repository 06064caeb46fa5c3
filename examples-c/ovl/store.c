/* The store that a command works in, and how durable that work is to be. */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

/* gc goes past what it cannot remove; here it is told of. */
static void say_warning(void *user, uint32_t level, const char *message)
{
	const struct tool *tool = user;

	(void)level;
	complain(tool->command, tool->home, strlen(tool->home), message);
}

int open_store(struct tool *tool, uint64_t flags)
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

int read_durability(const struct tool *tool, const struct args *args, uint32_t *durability)
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

int read_sync(const struct tool *tool, const struct args *args, uint64_t sync, uint64_t *flags)
{
	const char *word = args->durability;

	if (word && strcmp(word, "full") == 0)
		*flags |= sync;
	else if (word && strcmp(word, "none") != 0)
		return fail(tool->command, "--durability", "must be none or full");
	return EXIT_SUCCESS;
}
