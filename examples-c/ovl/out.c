/* What the tool prints of a result: lines of text, or JSON. */
#include "tool.h"

#include <inttypes.h>
#include <string.h>

struct out out_new(const struct tool *tool)
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

void begin_list(const struct out *out)
{
	if (out->json)
		putchar('[');
}

void end_list(const struct out *out)
{
	if (out->json)
		fputs("]\n", stdout);
}

void begin_object(struct out *out)
{
	if (out->json)
		printf("%s{", out->before_object);
	out->before_object = ",\n";
	out->before_member = "";
}

void end_object(const struct out *out)
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

void put_bytes(struct out *out, const char *name, const char *bytes, size_t len)
{
	put_name(out, name);
	if (out->json) {
		put_json_string(bytes, len);
	} else {
		put_escaped(stdout, bytes, len);
		putchar('\n');
	}
}

void put_text(struct out *out, const char *name, const char *text)
{
	if (*text || out->json)
		put_bytes(out, name, text, strlen(text));
}

void put_number(struct out *out, const char *name, uint64_t number)
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

void put_layer(struct out *out, const struct ovl_layer_info *info)
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

void put_image(struct out *out, const char *name, const struct ovl_image_info *info)
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
