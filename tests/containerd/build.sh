#!/bin/sh
# build.sh DIR [plugin|quick|all|clients|docker|kubelet]: builds into DIR what the tests run and Debian does not
# have: the plugin; with `quick` the tests' own programs as well; with `all` a containerd 2 with its ctr and
# shim, and a runc of its age, at the versions that go.mod pins; with `clients` BuildKit and crictl
# (clients/go.mod), too; with `docker` the Docker Engine (docker/go.mod) as well, and with `kubelet`
# a kubelet (kubelet/go.mod) besides. The last three take minutes. The go command's cache makes the second
# time short.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd) what=${2:-all}
cd "$(dirname "$0")"
top=$(cd ../.. && pwd)
PATH=$PATH:/usr/local/go/bin
export GOTOOLCHAIN=local
small="-trimpath -ldflags=-s"

plugin=$top/bindings/go/containerd
if [ -d "$plugin/cmd/ovl-snapshotter" ]; then
	pc=$(mktemp -d)
	trap 'rm -rf "$pc"' EXIT
	sh "$top/scripts/build-pc.sh" "$pc"
	# The go command does not see that the library has changed: linked anew where it has.
	(cd "$plugin" && PKG_CONFIG_PATH=$pc CGO_LDFLAGS="-Wl,-rpath,$top/build" \
		go build $small -o "$out/ovl-snapshotter" ./cmd/ovl-snapshotter)
fi
[ "$what" != plugin ] || exit 0
CGO_ENABLED=0 go build $small -o "$out/" ./ask ./scale
[ "$what" != quick ] || exit 0

containerd=github.com/containerd/containerd/v2/cmd
CGO_ENABLED=0 go build $small -tags "no_btrfs no_devmapper no_zfs no_tracing" -o "$out/" \
	$containerd/containerd $containerd/ctr $containerd/containerd-shim-runc-v2
# Without libseccomp it runs containers that want no filter.
tags=
! pkg-config --exists libseccomp || tags=seccomp
go build $small -tags "$tags" -o "$out/runc" github.com/opencontainers/runc
[ "$what" != all ] || exit 0
(cd clients && CGO_ENABLED=0 go build $small -o "$out/" \
	github.com/moby/buildkit/cmd/buildkitd github.com/moby/buildkit/cmd/buildctl sigs.k8s.io/cri-tools/cmd/crictl)
[ "$what" != clients ] || exit 0
(cd docker && CGO_ENABLED=0 go build $small -tags "no_btrfs no_zfs no_devmapper no_tracing exclude_disk_quota" -o "$out/dockerd" \
	github.com/moby/moby/v2/cmd/dockerd)
[ "$what" != docker ] || exit 0
cd kubelet
# Without a version a kubelet takes itself for one of the future.
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
CGO_ENABLED=0 go build -trimpath -ldflags="-s -X k8s.io/component-base/version.gitVersion=$version" \
	-o "$out/kubelet" k8s.io/kubernetes/cmd/kubelet
