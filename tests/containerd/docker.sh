# The Docker Engine with containerd's image store on libovl: asked by its HTTP interface, as Debian's
# client is too old for it. `build.sh DIR docker` builds the engine, which takes minutes; the test is
# skipped where nobody did.

start_dockerd() {
	NS=moby
	"$BUILT/dockerd" --host "unix://$T/docker.sock" --containerd "$T/c.sock" --feature containerd-snapshotter=true \
		--storage-driver "$SNAPSHOTTER" --data-root "$T/docker" --exec-root "$T/exec" --pidfile "$T/docker.pid" \
		--bridge=none --iptables=false --ip6tables=false --ip-forward=false --userland-proxy=false >>"$T/docker.log" 2>&1 &
	DOCKERD_PID=$!
	wait_for 40 dockerd docker GET /_ping
}

# docker METHOD PATH [CURL'S ARGUMENT...]
docker() {
	method=$1 path=$2
	shift 2
	curl -sS --fail-with-body --max-time 60 --unix-socket "$T/docker.sock" -X "$method" "http://docker$path" "$@"
}

json() { # json METHOD PATH TEXT
	docker "$1" "$2" -H 'Content-Type: application/json' -d "$3"
}

# docker_run NAME IMAGE SCRIPT: and what it said.
docker_run() {
	json POST "/containers/create?name=$1" "$(jq -nc --arg image "$2" --arg script "$3" '{Image: $image,
		Cmd: ["/bin/sh", "-c", $script], Tty: true, HostConfig: {NetworkMode: "none", SecurityOpt: ["seccomp=unconfined"]}}')" >made
	docker POST "/containers/$1/start"
	status=$(docker POST "/containers/$1/wait" | jq .StatusCode)
	docker GET "/containers/$1/logs?stdout=1&stderr=1" | tr -d '\r'
	return "$status"
}

test_built_docker() {
	[ -x "$BUILT/dockerd" ] || skip dockerd
	need curl
	start
	start_dockerd
	same "$(docker GET /info | jq -r .Driver)" "$SNAPSHOTTER"
	docker POST /images/load -H 'Content-Type: application/x-tar' --data-binary "@$IMAGES/bb.tar"
	same "$(docker_run one localhost/bb:1 'cat /var/swap; ls /var/old; echo mine >/mine; rm /etc/motd')" "again
c"
	# What it changed, the commit of it, and a container of that.
	docker GET /containers/one/changes | jq -r '.[] | "\(.Kind) \(.Path)"' | sort >changes
	grep -qx '1 /mine' changes && grep -qx '2 /etc/motd' changes && grep -qx '0 /etc' changes || wrong "the changes are $(cat changes)"
	docker POST '/commit?container=one&repo=localhost/changed&tag=1' -H 'Content-Type: application/json' -d '{}'
	same "$(docker_run two localhost/changed:1 'cat /mine; [ -e /etc/motd ] || echo gone')" "mine
gone"
	docker GET /images/localhost/changed:1/get >saved.tar
	tar -tf saved.tar | grep -q index.json || wrong "what was saved is $(tar -tf saved.tar)"

	# The classic builder: each step is a container, a commit, a layer.
	mkdir build
	echo added >build/file
	printf 'FROM localhost/bb:1\nRUN rm -r /opt/far && mkdir /opt/far && echo built >/opt/far/built\nCOPY file /file\nRUN ls /opt/far >/list\n' >build/Dockerfile
	tar -C build -cf context.tar .
	docker POST '/build?t=localhost/built:1&version=1&networkmode=none' -H 'Content-Type: application/x-tar' --data-binary @context.tar >built.log ||
		wrong "the build: $(cat built.log)"
	! grep '"error"' built.log || wrong "the build failed"
	same "$(docker_run three localhost/built:1 'cat /file /list; ls /opt/far')" "added
built
built"
	judge
	for name in one two three; do docker DELETE "/containers/$name"; done
	for image in localhost/built:1 localhost/changed:1 localhost/bb:1; do docker DELETE "/images/$image?force=1" >gone; done
	docker POST /images/prune >gone
	end "$DOCKERD_PID" TERM
	remove_all
	nothing_left
}
