# What a kubelet asks of containerd, by the CRI.

# The configuration's part for the CRI: no network plugin, so pods are on the host's network.
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
