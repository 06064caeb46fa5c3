/* Lists of words: a command, or the variables of an environment. */
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *have(void *memory)
{
	if (!memory) {
		fail("run", "memory", strerror(ENOMEM));
		exit(EXIT_OVL);
	}
	return memory;
}

void add_word(struct words *list, const char *word)
{
	if (list->count + 1 >= list->room) {
		list->room = list->room ? 2 * list->room : 16;
		list->word = have(realloc(list->word, list->room * sizeof *list->word));
	}
	list->word[list->count++] = have(strdup(word));
	list->word[list->count] = NULL;
}

void free_words(struct words *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->word[i]);
	free(list->word);
}

void add_variable(struct words *list, const char *key, const char *value)
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

void keep_last(struct words *list)
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
