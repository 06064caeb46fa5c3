/* run --image: a layer of its own for a command of the image. */
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

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

int run_image(struct tool *tool, const struct args *args)
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
