/* The user and the groups of a command, by the layer's own files. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file of the layer's, which may be anything: only a plain one is read. */
static FILE *open_plain(const char *path)
{
	int fd = open_inside(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	FILE *file = NULL;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		file = fdopen(fd, "r");
	if (!file && fd >= 0)
		close(fd);
	return file;
}

/* 1 and the number where a word is one, as a user or group may be. */
static int is_number(const char *word, unsigned *number)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(word, &end, 10);
	if (*word < '0' || *word > '9' || *end || errno || value > INT_MAX)
		return 0;
	*number = (unsigned)value;
	return 1;
}

/* The user by the layer's own /etc/passwd, without the host's name service. A number needs none. */
static int find_user(const char *user, struct identity *who, char *name, size_t size)
{
	FILE *file = open_plain("/etc/passwd");
	struct passwd *one = NULL;
	unsigned uid = 0;
	int numeric = is_number(user, &uid);

	while (file && (one = fgetpwent(file)) != NULL)
		if (numeric ? one->pw_uid == uid : strcmp(one->pw_name, user) == 0)
			break;
	if (one) {
		who->uid = one->pw_uid;
		who->gid = one->pw_gid;
		snprintf(who->home, sizeof who->home, "%s", one->pw_dir);
		snprintf(name, size, "%s", one->pw_name);
	} else if (numeric) {
		who->uid = uid;
	}
	if (file)
		fclose(file);
	return one || numeric ? 0 : fail("run", user, "the layer has no such user");
}

/* The group that is asked for, or else those that `name` is a member of. */
static int find_groups(const char *group, const char *name, struct identity *who)
{
	const size_t most = sizeof who->groups / sizeof *who->groups;
	FILE *file = open_plain("/etc/group");
	struct group *one;
	unsigned gid = 0;
	int numeric = group && is_number(group, &gid), found = numeric;

	if (numeric)
		who->gid = gid;
	while (file && (one = fgetgrent(file)) != NULL) {
		if (group && !found && strcmp(one->gr_name, group) == 0) {
			who->gid = one->gr_gid;
			found = 1;
		}
		for (char **member = one->gr_mem; !group && *name && *member; member++)
			if (strcmp(*member, name) == 0 && who->group_count < most)
				who->groups[who->group_count++] = one->gr_gid;
	}
	if (file)
		fclose(file);
	return !group || found ? 0 : fail("run", group, "the layer has no such group");
}

int groups_are_denied(void)
{
	char word[8] = "";
	int fd = open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, word, sizeof word - 1) < 0)
		word[0] = '\0';
	close(fd);
	return strncmp(word, "deny", 4) == 0;
}

int become(const char *user, int no_groups, struct identity *who)
{
	char words[512], name[256] = "";
	char *group;

	if (snprintf(words, sizeof words, "%s", user && *user ? user : "0") >= (int)sizeof words)
		return fail("run", user, "the user's name is too long");
	group = strchr(words, ':');
	if (group)
		*group++ = '\0';
	if (group && !*group)
		group = NULL;
	if (find_user(*words ? words : "0", who, name, sizeof name) != 0 || find_groups(group, name, who) != 0)
		return -1;
	/* The caller's groups stay in a user namespace alone that lets nobody set any. */
	if (setgroups(who->group_count, who->groups) < 0 && !(errno == EPERM && no_groups))
		return fail("run", user ? user : "0", strerror(errno));
	if ((who->gid != getegid() && setgid(who->gid) < 0) || (who->uid != geteuid() && setuid(who->uid) < 0)) {
		fail("run", user ? user : "0", errno == EINVAL ? "this user namespace has no such user or group"
		     : strerror(errno));
		return -1;
	}
	return 0;
}
