# Images without a network: layer trees made by hand, packed as an OCI archive.

# tar_of TAR DIR: with all that a layer tar can say of a tree.
tar_of() {
	tar --xattrs --xattrs-include='*' --numeric-owner --format=pax -C "$2" -cf "$1" .
}

# blob_of FILE TYPE: puts FILE among the blobs of ./oci, and says its descriptor's members.
blob_of() {
	digest=$(sha256sum <"$1" | cut -d ' ' -f 1)
	cp "$1" "oci/blobs/sha256/$digest"
	printf '"mediaType":"application/vnd.oci.image.%s","digest":"sha256:%s","size":%s' "$2" "$digest" "$(stat -c %s "$1")"
}

# oci_image ARCHIVE NAME TAR...: an image of these layers, with COMMAND; every second one is compressed.
oci_image() {
	archive=$1 name=$2
	shift 2
	rm -rf oci
	mkdir -p oci/blobs/sha256
	printf '{"imageLayoutVersion":"1.0.0"}' >oci/oci-layout
	layers='' ids='' squeeze=
	for layer; do
		ids="$ids,\"sha256:$(sha256sum <"$layer" | cut -d ' ' -f 1)\""
		if [ "$squeeze" ]; then
			gzip -nc "$layer" >layer.gz
			layers="$layers,{$(blob_of layer.gz layer.v1.tar+gzip)}" squeeze=
		else
			layers="$layers,{$(blob_of "$layer" layer.v1.tar)}" squeeze=1
		fi
	done
	printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":[%s]},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
		"$(go_arch)" "${COMMAND:-\"/bin/sh\"}" "${ids#,}" >config.json
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{%s},"layers":[%s]}' \
		"$(blob_of config.json config.v1+json)" "${layers#,}" >manifest.json
	printf '{"schemaVersion":2,"manifests":[{%s,"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"}}]}' \
		"$(blob_of manifest.json manifest.v1+json)" "$name" "${name##*:}" >oci/index.json
	tar -C oci -cf "$archive" oci-layout index.json blobs
	rm -rf oci layer.gz config.json manifest.json
}

go_arch() {
	case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac
}

# make_images DIR: three layers whose tree says all that there is to say, and what the merged trees are:
#   bb.tar     localhost/bb:1      of base, middle, top       tree of it: bb/
#   other.tar  localhost/other:1   of base, middle, another   tree of it: other/
make_images() (
	mkdir -p "$1"
	cd "$1"
	sh "$TOP/scripts/rootfs.sh" base
	mkdir -p base/run base/var/old base/var/swap base/opt/gone base/opt/far/away
	for name in sort wc tr grep stat find cut seq dd sync mkfifo mknod touch chown df du; do
		[ -e base/bin/$name ] || ln -s busybox base/bin/$name
	done
	echo root:x:0:0:root:/root:/bin/sh >base/etc/passwd
	echo root:x:0: >base/etc/group
	for name in a b c; do echo "old $name" >base/var/old/$name; done
	echo gone >base/opt/gone/file
	echo far >base/opt/far/away/file
	echo "was a file" >base/var/file
	echo "was below a directory" >base/var/swap/file
	tar_of base.layer base

	# What can be said of an inode.
	mkdir -p middle/opt/kinds middle/var/old
	echo linked >middle/opt/kinds/one
	ln middle/opt/kinds/one middle/opt/kinds/two
	ln -s ../kinds/one middle/opt/kinds/symlink
	mkfifo middle/opt/kinds/fifo
	mknod middle/opt/kinds/null c 1 3
	printf '#include <stdio.h>\n#include <unistd.h>\nint main(void) { return printf("%%d\\n", (int)geteuid()) < 0; }\n' >setuid.c
	cc -static -o middle/opt/kinds/setuid setuid.c
	chown 1000:1000 middle/opt/kinds/one
	chmod 4755 middle/opt/kinds/setuid
	mkdir -m 2775 middle/opt/kinds/setgid
	mkdir -m 1777 middle/opt/kinds/sticky
	echo attributed >middle/opt/kinds/xattr
	setfattr -n user.note -v 'a note' middle/opt/kinds/xattr
	setfattr -n user.dir -v 'of a directory' middle/opt/kinds/sticky
	cp base/bin/busybox middle/opt/kinds/capable
	setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 middle/opt/kinds/capable
	touch -d @1234567890.123456789 middle/opt/kinds/old
	printf 'new\nlines' >"middle/opt/kinds/strange
name ä"
	: >middle/var/old/.wh.a
	tar_of middle.layer middle

	# What a layer can do to the ones below.
	mkdir -p top/var/old top/opt top/var/file
	: >top/var/old/.wh.b
	: >top/opt/.wh.gone
	mkdir -p top/opt/far
	: >top/opt/far/.wh..wh..opq
	echo near >top/opt/far/near
	echo "in what was a file" >top/var/file/inside
	echo again >top/var/swap
	tar_of top.layer top

	mkdir another
	echo another >another/another
	tar_of another.layer another

	# The merged trees, made with cp and rm alone.
	cp -a base other
	cp -a middle/. other/
	rm other/var/old/a other/var/old/.wh.a
	cp -a other bb
	cp -a another/. other/
	rm -r bb/var/old/b bb/opt/gone bb/opt/far bb/var/file bb/var/swap
	cp -a top/. bb/
	find bb -name '.wh.*' -delete

	oci_image bb.tar localhost/bb:1 base.layer middle.layer top.layer
	oci_image other.tar localhost/other:1 base.layer middle.layer another.layer
	rm -r base middle top another
)

# make_pause TAR NAME: the image of a pod's own container: a process that waits.
make_pause() (
	mkdir "$1.d"
	cd "$1.d"
	mkdir -p pause/bin
	cp "$(command -v busybox)" pause/bin/busybox
	tar_of pause.layer pause
	COMMAND='"/bin/busybox","sleep","1000000"' oci_image "$1" "$2" pause.layer
	cd .. && rm -r "$1.d"
)

# make_nothing TAR: an image of one empty layer.
make_nothing() (
	mkdir "$1.d"
	cd "$1.d"
	mkdir nothing
	tar_of nothing.layer nothing
	oci_image "$1" localhost/nothing:1 nothing.layer
	cd .. && rm -r "$1.d"
)

# make_many DIR COUNT: images localhost/many:1 and so on: a base of some thousand files for all, a layer
# for each two, and one of its own for each.
make_many() (
	mkdir -p "$1"
	cd "$1"
	sh "$TOP/scripts/rootfs.sh" base
	mkdir -p base/usr
	i=0
	while [ $i -lt 40 ]; do
		mkdir "base/usr/$i"
		j=0
		while [ $j -lt 50 ]; do
			echo "$i $j" >"base/usr/$i/$j"
			j=$((j + 1))
		done
		i=$((i + 1))
	done
	head -c 8000000 /dev/urandom >base/usr/data
	tar_of base.layer base
	i=1
	while [ $i -le "$2" ]; do
		mkdir -p shared own/usr
		echo $((i / 2)) >shared/shared
		head -c 1000000 /dev/zero | tr '\0' "$((i / 2 % 10))" >shared/large
		tar_of shared.layer shared
		touch -d @1600000000 shared shared/*
		tar_of shared.layer shared
		echo $i >own/own
		: >own/usr/.wh.$i
		tar_of own.layer own
		oci_image $i.tar localhost/many:$i base.layer shared.layer own.layer
		rm -r shared own
		i=$((i + 1))
	done
	rm -r base ./*.layer
)

# tree_of DIR: all that matters of the tree there, line by line; not what is mounted in it. The sizes and
# times of directories are the file system's and the runtime's.
tree_of() (
	cd "$1"
	find . -xdev -mindepth 1 ! -path './proc*' ! -path './dev*' ! -path './sys*' ! -path './run*' \
		\( -type d -printf '%y %m %U:%G %P\n' -o -type l -printf '%y %U:%G %P -> %l\n' \
		-o -printf '%y %m %U:%G %n %s %T@ %P\n' \)
	find . -xdev -type f -exec sha256sum {} +
	find . -xdev \( -type b -o -type c \) -exec stat -c 'device %t:%T %n' {} +
	getfattr -Rhd -m '^(user|trusted|security)\.' . 2>/dev/null | grep -v '^trusted.overlay' | paste -sd' ' | sed 's/  */ /g;s/# file/\n&/g'
)
