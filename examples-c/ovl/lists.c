/* The commands that show a list. */
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

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

int cmd_images(struct tool *tool, const struct args *args)
{
	struct ovl_iter *items = NULL;
	struct ovl_error *error = NULL;

	(void)args;
	if (ovl_image_list(tool->store, NULL, 0, &items, &error) < 0)
		return failed(tool, error, tool->home);
	return show_items(tool, items, show_image);
}

int cmd_list(struct tool *tool, const struct args *args)
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

int cmd_changes(struct tool *tool, const struct args *args)
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

int cmd_status(struct tool *tool, const struct args *args)
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

int cmd_check(struct tool *tool, const struct args *args)
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
int cmd_usage(struct tool *tool, const struct args *args)
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
