# What a kubelet asks of containerd, by the CRI.

# The configuration's part for the CRI. There is a network plugin only where CNI says the directory of
# them: all other pods are on the host's network.
cri_config() {
	cat <<-END
		[plugins."io.containerd.grpc.v1.cri"]
		sandbox_image = "localhost/pause:1"
		restrict_oom_score_adj = true
		disable_tcp_service = true
		stats_collect_period = 1
		[plugins."io.containerd.grpc.v1.cri".containerd]
		snapshotter = "$SNAPSHOTTER"
		disable_snapshot_annotations = true
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		runtime_type = "io.containerd.runc.v2"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
		BinaryName = "$(command -v "$RUNTIME")"
	END
	[ -z "${CNI:-}" ] ||
		printf '[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "%s"\nconf_dir = "%s"\n' "$CNI" "$T/net.d"
}

cri() {
	"$ASK" cri -containerd "$T/c.sock" -snapshotter "$SNAPSHOTTER" "$@" localhost/bb:1
}

test_cri() {
	CRI='' NS=k8s.io
	start
	import "$IMAGES/pause.tar" "$IMAGES/bb.tar"
	# Twice: the second pod has the first one's name.
	cri >said
	cat said
	# Where the snapshots are, so that a kubelet watches the right disk; 1.6 cannot be told.
	! plugin_used || [ "$VERSION" = debian ] || grep -q "at $T/ovl\$" said || wrong "the images' place is: $(cat said)"
	cri
	# The daemons are restarted under a pod; the kubelet finds it again.
	cri -until running
	judge
	restart_plugin KILL
	restart_containerd TERM
	cri -until end
	collect
	judge
	remove_all
	nothing_left
}

crictl() {
	timeout 60 "$BUILT/crictl" --runtime-endpoint "unix://$T/c.sock" --image-endpoint "unix://$T/c.sock" --timeout 40s "$@"
}

# The same by the tool that people look with. `build.sh DIR clients` builds it.
test_built_crictl() {
	[ -x "$BUILT/crictl" ] || skip crictl
	CRI='' NS=k8s.io
	start
	import "$IMAGES/pause.tar" "$IMAGES/bb.tar"
	mkdir logs
	jq -n --arg logs "$T/logs" '{metadata: {name: "pod", namespace: "default", uid: "1"}, log_directory: $logs,
		linux: {security_context: {namespace_options: {network: 2}}}}' >pod.json
	jq -n '{metadata: {name: "one"}, image: {image: "localhost/bb:1"}, log_path: "one.log",
		command: ["/bin/sh", "-c", "echo begun; echo mine >/mine; rm /etc/motd; sleep 100000 & wait"],
		linux: {security_context: {namespace_options: {network: 2}}}}' >one.json
	crictl images | grep -q '^localhost/bb '
	if plugin_used; then
		same "$(crictl imagefsinfo | jq -r '.status.imageFilesystems[0].fsId.mountpoint')" "$T/ovl"
	fi
	pod=$(crictl runp pod.json)
	one=$(crictl create "$pod" one.json pod.json)
	crictl start "$one"
	wait_for 20 "the container's first word" grep -q begun logs/one.log
	same "$(crictl exec "$one" /bin/sh -c 'cat /mine; [ -e /etc/motd ] || echo gone')" "mine
gone"
	same "$(crictl logs "$one")" begun
	# What a kubelet evicts by: the layer's own bytes.
	wait_for 30 "the container's usage" used "$one"
	crictl stop "$one"
	same "$(crictl inspect "$one" | jq -r .status.state)" CONTAINER_EXITED
	crictl rm "$one"
	crictl stopp "$pod"
	crictl rmp "$pod"
	crictl rmi localhost/bb:1
	collect
	judge
	remove_all
	nothing_left
}

used() {
	[ "$(crictl stats -o json "$1" | jq -r '.stats[0].writableLayer.usedBytes.value')" -gt 0 ]
}
