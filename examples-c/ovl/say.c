/* What the tool says on standard error: failures, and what was left out. */
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void put_escaped(FILE *to, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c < 32 || c == 127 || c == '\\')
			fprintf(to, "\\%03o", c);
		else
			putc(c, to);
	}
}

void complain(const char *operation, const char *path, size_t len, const char *message)
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

int fail(const char *operation, const char *path, const char *message)
{
	complain(operation, path, strlen(path), message);
	return EXIT_FAILURE;
}

int failed(const struct tool *tool, struct ovl_error *error, const char *path)
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

void warn_skipped(const char *operation, const char *path, uint64_t count, const char *what)
{
	char text[96];

	if (count == 0)
		return;
	snprintf(text, sizeof text, "%" PRIu64 " %s", count, what);
	complain(operation, path, strlen(path), text);
}

void warn_layer(const char *operation, const struct ovl_layer_info *info, const char *path)
{
	warn_skipped(operation, path, info->skipped_devices, "devices left out: not permitted here");
	warn_skipped(operation, path, info->skipped_owners, "owners not kept: not permitted here");
	warn_skipped(operation, path, info->skipped_xattrs, "extended attributes not kept");
	warn_skipped(operation, path, info->skipped_sockets, "sockets left out: a tar cannot hold them");
	warn_skipped(operation, path, info->skipped_names, "names starting with .wh. left out");
}

void warn_image(const char *operation, const struct ovl_image_info *info, const char *name)
{
	warn_skipped(operation, name, info->skipped_devices, "devices left out: not permitted here");
	warn_skipped(operation, name, info->skipped_owners, "owners not kept: not permitted here");
	warn_skipped(operation, name, info->skipped_xattrs, "extended attributes not kept");
}
