# BuildKit with its containerd worker on libovl, as `docker buildx` drives it. `build.sh DIR clients` builds
# it, which takes minutes; the test is skipped where nobody did.

start_buildkitd() {
	mkdir -p "$T/buildkit"
	cat >"$T/buildkitd.toml" <<-END
		root = "$T/buildkit"
		[grpc]
		address = ["unix://$T/buildkit.sock"]
		[worker.oci]
		enabled = false
		[worker.containerd]
		enabled = true
		address = "$T/c.sock"
		namespace = "${NS:-default}"
		snapshotter = "$SNAPSHOTTER"
		networkMode = "host"
	END
	"$BUILT/buildkitd" --config "$T/buildkitd.toml" >>"$T/buildkit.log" 2>&1 &
	BUILDKIT_PID=$!
	wait_for 40 buildkitd buildctl debug workers
}

buildctl() {
	timeout 120 "$BUILT/buildctl" --addr "unix://$T/buildkit.sock" "$@"
}

# build NAME, of the context in build/: an image in containerd. Images are those that are there.
build() {
	buildctl build --progress plain --frontend dockerfile.v0 --opt image-resolve-mode=local \
		--local context=build --local dockerfile=build --output "type=image,name=$1,unpack=true" >built.log 2>&1 ||
		wrong "the build of $1: $(tail -n 20 built.log; tail -n 5 "$T/buildkit.log")"
}

test_built_buildkit() {
	[ -x "$BUILT/buildkitd" ] || skip buildkitd
	start
	import "$IMAGES/bb.tar"
	start_buildkitd
	mkdir build
	echo added >build/file
	cat >build/Dockerfile <<-'END'
		FROM localhost/bb:1 AS base
		RUN rm -r /opt/far && mkdir /opt/far && echo built >/opt/far/built && ln /opt/far/built /opt/far/again
		FROM localhost/bb:1 AS other
		RUN echo other >/other && chmod 4711 /other
		FROM base
		RUN --mount=type=cache,target=/cache echo kept >>/cache/kept && wc -l </cache/kept >/count
		COPY file /file
		COPY --link --from=other /other /linked/other
		RUN ls /opt/far >/list
	END
	build localhost/built:1
	same "$(run one localhost/built:1 /bin/sh -c 'cat /file /list /count /linked/other; stat -c %a /linked/other; ls /opt/far')" "added
again
built
1
other
4711
again
built"
	ctr containers rm one 2>/dev/null || true
	# From the cache, with the last layers new.
	echo changed >build/file
	build localhost/built:2
	grep -q CACHED built.log || wrong "nothing came from the cache: $(cat built.log)"
	same "$(run two localhost/built:2 /bin/sh -c 'cat /file /opt/far/built')" "changed
built"
	ctr containers rm two 2>/dev/null || true
	collect
	judge
	buildctl prune --all >pruned 2>&1
	end "$BUILDKIT_PID" TERM
	remove_all
	nothing_left
}
