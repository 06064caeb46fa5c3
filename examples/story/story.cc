// One story, in C++:  story STORE BASE.tar APP.tar      (see story.c)
#include <ovl.h>

#include <cerrno>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <system_error>
#include <unistd.h>

template <auto Free> struct freed {
	template <class T> void operator()(T *handle) const { Free(handle); }
};

// Calls a function with its arguments but for the last, and throws what it says there.
template <class Call, class... Args> int must(Call call, Args... args)
{
	ovl_error *raw = nullptr;
	const int said = call(args..., &raw);
	const std::unique_ptr<ovl_error, freed<ovl_error_free>> error(raw);
	if (said < 0)
		throw std::system_error(-said, std::generic_category(), ovl_error_message(raw));
	return said;
}

static void apply(ovl_store *store, const char *id, const char *parent, const char *tar)
{
	ovl_apply_opts opts{};
	ovl_layer_info info{};
	const int fd = open(tar, O_RDONLY | O_CLOEXEC);
	opts.parent = parent;
	must(ovl_apply_layer, store, id, fd, &opts, sizeof opts, &info, sizeof info);
	close(fd);
	std::cout << id << ' ' << info.diff_id << '\n';
}

static void tell(ovl_store *store, const char *base, const char *app)
{
	apply(store, "base", nullptr, base);
	apply(store, "app", "base", app);
	must(ovl_create, store, "box", "app", nullptr, 0);
	if (ovl_create(store, "box", "app", nullptr, 0, nullptr) == -EEXIST)
		std::cout << "box is there already\n";

	ovl_mount_opts detached{OVL_MOUNT_DETACHED, nullptr, nullptr};
	ovl_mnt *mnt = nullptr;
	must(ovl_mount, store, "box", &detached, sizeof detached, &mnt);
	const int fd = openat(ovl_mnt_fd(mnt), "hello", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, "hello\n", 6) != 6 || close(fd) < 0 || unlinkat(ovl_mnt_fd(mnt), "etc/motd", 0) < 0)
		throw std::system_error(errno, std::generic_category(), "box");
	must(ovl_unmount, mnt, nullptr, 0);

	ovl_iter *listed = nullptr;
	must(ovl_changes, store, "box", nullptr, nullptr, 0, &listed);
	const std::unique_ptr<ovl_iter, freed<ovl_iter_free>> changes(listed);
	for (ovl_item item{}; must(ovl_iter_next, listed, &item, sizeof item);)
		std::cout << static_cast<char>(item.what) << ' ' << item.name << '\n';

	ovl_diff_opts clamp{};
	ovl_layer_info info{};
	clamp.flags = OVL_DIFF_CLAMP, clamp.clamp_sec = 1700000000;
	clamp.write = [](void *, const void *, size_t len) { return static_cast<int64_t>(len); };
	must(ovl_diff, store, "box", nullptr, -1, &clamp, sizeof clamp, &info, sizeof info);
	std::cout << "box " << info.diff_id << '\n';
	must(ovl_remove, store, "box", nullptr, 0);
}

int main(int argc, char **argv)
try {
	ovl_store *store = nullptr;
	if (argc != 4)
		return 2;
	must(ovl_store_open, argv[1], nullptr, 0, &store);
	const std::unique_ptr<ovl_store, freed<ovl_store_free>> owner(store);
	tell(store, argv[2], argv[3]);
} catch (const std::exception &error) {
	std::cerr << "story: " << error.what() << '\n';
	return 1;
}
