# A kubelet without a cluster: it runs the pods of a directory, on libovl. `build.sh DIR kubelet` builds it,
# which takes minutes; the test is skipped where nobody did.

start_kubelet() {
	mkdir -p "$T/pods" "$T/kubelet"
	cat >"$T/kubelet.yaml" <<-END
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		containerRuntimeEndpoint: unix://$T/c.sock
		staticPodPath: $T/pods
		authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
		authorization: {mode: AlwaysAllow}
		readOnlyPort: 0
		port: 10259
		address: 127.0.0.1
		healthzPort: 0
		failSwapOn: false
		failCgroupV1: false
		cgroupDriver: cgroupfs
		cgroupsPerQOS: false
		enforceNodeAllocatable: []
		enableDebuggingHandlers: true
		enableServer: true
		podLogsDir: $T/podlogs
		fileCheckFrequency: 1s
		syncFrequency: 5s
		evictionHard: {nodefs.available: "1%", imagefs.available: "1%"}
		volumePluginDir: $T/kubelet/plugins
	END
	"$BUILT/kubelet" --config "$T/kubelet.yaml" --root-dir "$T/kubelet" --cert-dir "$T/kubelet/pki" \
		--hostname-override node >>"$T/kubelet.log" 2>&1 &
	KUBELET_PID=$!
	wait_for 40 kubelet kubelet healthz
}

kubelet() {
	curl -sSk --fail --max-time 20 "https://127.0.0.1:10259/$1"
}

# pod NAME SCRIPT: a file of the kubelet's directory. The pod has the host's users and network, or with
# USERS=own none of them.
pod() {
	jq -n --arg name "$1" --arg script "$2" --argjson host "$([ "${USERS:-host}" = host ] && echo true || echo false)" \
		'{apiVersion: "v1", kind: "Pod", metadata: {name: $name}, spec: {hostNetwork: $host, hostUsers: $host, terminationGracePeriodSeconds: 1,
		containers: [{name: "main", image: "localhost/bb:1", imagePullPolicy: "Never", command: ["/bin/sh", "-c", $script]}]}}' >"$T/new.json"
	mv "$T/new.json" "$T/pods/$1.json"
}

said_in() { # said_in NAME WORD
	grep -qs "$2" "$T"/podlogs/default_"$1"-node_*/main/*.log
}

of_pod() { # of_pod NAME QUERY: what the kubelet's summary says of the one container of a pod
	kubelet stats/summary | jq -r --arg name "$1-node" ".pods[] | select(.podRef.name == \$name) | .containers[0] | $2"
}

wrote() { # wrote NAME BYTES: the pod's layer has grown by them
	[ "$(of_pod "$1" .rootfs.usedBytes)" -gt "$2" ]
}

no_pod() {
	[ -z "$(kubelet pods | jq -r --arg name "$1-node" '.items[]? | select(.metadata.name == $name) | .metadata.name')" ] &&
		! ctr containers ls | grep -q 'localhost/'
}

test_built_kubelet() {
	[ -x "$BUILT/kubelet" ] || skip kubelet
	need curl
	CRI='' NS=k8s.io
	start
	import "$IMAGES/pause.tar" "$IMAGES/bb.tar"
	start_kubelet
	script='cat /etc/motd; head -c 3000000 /dev/urandom >/mine; rm /etc/motd; sleep 100000 & wait'
	pod web "$script"
	wait_for 60 "the pod" said_in web "$(cat "$IMAGES/bb/etc/motd")"
	# What a kubelet evicts by: the layer's own bytes, and the disk of the images.
	wait_for 60 "the usage of the pod" wrote web 2900000
	if plugin_used; then
		used=$(kubelet stats/summary | jq -r '.node.runtime.imageFs.usedBytes')
		[ "$used" -gt 1000000 ] || wrong "the images take $used bytes, as it seems"
	fi
	judge
	# The daemons go under the pod, and a pod is made while the plugin is away.
	! plugin_used || end "$PLUGIN_PID" KILL
	pod late "$script"
	sleep 1
	start_plugin
	restart_containerd KILL
	wait_for 90 "the pod after the restart" said_in late "$(cat "$IMAGES/bb/etc/motd")"
	wait_for 60 "the usage of the pod" wrote late 2900000
	wait_for 60 "the usage of the old pod" wrote web 2900000
	rm "$T/pods/web.json" "$T/pods/late.json"
	for name in web late; do
		wait_for 90 "the end of pod $name" no_pod "$name"
	done
	collect
	judge
	end "$KUBELET_PID" TERM
	remove_all
	nothing_left
}

# A container's users are the host's 65536 and more: how the CRI asks for that, and how ctr does.
test_built_kubelet_userns() {
	[ -x "$BUILT/kubelet" ] || skip kubelet
	need curl
	CNI=/usr/lib/cni
	[ -x $CNI/ptp ] || skip containernetworking-plugins
	CRI='' NS=k8s.io
	mkdir "$T/net.d"
	jq -n --arg dir "$T/addresses" '{cniVersion: "1.0.0", name: "pods", plugins: [{type: "ptp",
		ipam: {type: "host-local", dataDir: $dir, ranges: [[{subnet: "10.99.0.0/24"}]]}}]}' >"$T/net.d/10-pods.conflist"
	start
	import "$IMAGES/pause.tar" "$IMAGES/bb.tar"
	start_kubelet
	motd=$(cat "$IMAGES/bb/etc/motd")
	script='cat /proc/self/uid_map; stat -c "owner %u:%g %n" /etc/motd; cat /etc/motd; rm /etc/motd
		head -c 3000000 /dev/urandom >/mine; stat -c "owner %u:%g %n" /mine; echo done; sleep 100000 & wait'
	USERS=own
	pod one "$script"
	pod two "$script"
	for name in one two; do
		wait_for 60 "pod $name" said_in "$name" done
		for word in "$motd" 'owner 0:0 /etc/motd' 'owner 0:0 /mine'; do
			said_in "$name" "$word" || wrong "pod $name has not said: $word"
		done
		wait_for 60 "the usage of pod $name" wrote "$name" 2900000
	done
	# Two pods, two ranges of users; what they wrote is theirs in the store, and the image's files are root's.
	firsts=$(cat "$T"/podlogs/default_*/main/*.log | awk '$4 == 0 && $6 == 65536 { print $5 }' | sort -n)
	same "$(echo "$firsts" | sort -nu | grep -vcx 0)" 2
	if plugin_used; then
		same "$(find "$T/ovl/store" -name mine -path '*/upper/*' -printf '%U:%G\n' | sort -n)" "$(echo "$firsts" | sed 's/.*/&:&/')"
		same "$(find "$T/ovl/store" -path '*/root/etc/motd' -printf '%U:%G\n' | sort -u)" 0:0
	fi
	judge
	! plugin_used || end "$PLUGIN_PID" KILL
	start_plugin
	restart_containerd KILL
	pod three "$script"
	wait_for 90 "a pod after the restart" said_in three done
	rm "$T"/pods/*.json
	for name in one two three; do
		wait_for 90 "the end of pod $name" no_pod "$name"
	done
	end "$KUBELET_PID" TERM
	remove_all
	nothing_left
}

test_built_ctr_userns() {
	start
	import "$IMAGES/bb.tar"
	OPTIONS='--uidmap 0:100000:65536 --gidmap 0:200000:65536 --remap-labels' \
		run one localhost/bb:1 /bin/sh -c 'stat -c %u:%g /etc/motd; echo mine >/mine; stat -c %u:%g /mine; rm /etc/motd' >said
	same "$(cat said)" "0:0
0:0"
	if plugin_used; then
		same "$(find "$T/ovl/store" -name mine -path '*/upper/*' -printf '%U:%G\n')" 100000:200000
		same "$(find "$T/ovl/store" -path '*/root/etc/motd' -printf '%U:%G\n' | sort -u)" 0:0
	fi
	judge
	remove_all
	nothing_left
}
