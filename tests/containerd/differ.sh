# The differ of containerd 2: layers are written and read by libovl itself.

# What the plugin said that it did.
plugin_did() {
	! plugin_used || grep -q "$1" plugin.log || wrong "the plugin has not done: $1"
}

# Every layer's diff ID by containerd's content is that of the image's configuration.
test_built_differ() {
	start
	ctr plugins ls | grep -E 'diff' >plugins
	! plugin_used || grep -q 'ovldiff.*ok' plugins || wrong "no differ: $(cat plugins)"
	# By the transfer service, and by the client.
	import "$IMAGES/bb.tar"
	ctr images import --local --snapshotter "$SNAPSHOTTER" "$IMAGES/other.tar"
	background bb localhost/bb:1
	background other localhost/other:1
	same_tree "$(tree_in bb)" "$IMAGES/bb"
	same_tree "$(tree_in other)" "$IMAGES/other"
	stop_container other

	inside bb 'rm -r /var/old; mkdir /var/old; echo new >/var/old/new; rm /etc/motd'
	commit_container bb localhost/changed:1
	ctr images export --local changed.tar localhost/changed:1
	stop_container bb
	diff_ids_right changed.tar
	mkdir image && tar -xf changed.tar -C image
	layer=$(jq -r '.layers[-1].digest' "image/blobs/sha256/$(manifest_of image)")
	# The change, as a layer of its own says it: no upper's marks, no file that was left alone.
	zcat "image/blobs/sha256/${layer#sha256:}" 2>/dev/null >layer.tar || cp "image/blobs/sha256/${layer#sha256:}" layer.tar
	tar -tf layer.tar | sed 's|^\./||; s|^/||' | grep -v '/$' | sort >names
	grep -qx 'etc/.wh.motd' names && grep -qx 'var/old/new' names || wrong "the layer has $(cat names)"
	# One or the other: an opaque directory, or a whiteout for each name.
	grep -qx -e 'var/old/.wh..wh..opq' -e 'var/old/.wh.c' names || wrong "the layer has $(cat names)"
	remove_all
	nothing_left
	import changed.tar
	same "$(run c localhost/changed:1 /bin/sh -c 'ls -A /var/old /etc')" "/etc:
group
passwd

/var/old:
new"
	ctr containers rm c
	remove_all
	nothing_left
}

manifest_of() {
	digest=$(jq -r '.manifests[0].digest' "$1/index.json")
	echo "${digest#sha256:}"
}

# diff_ids_right ARCHIVE: the configuration's diff IDs are those of the layers' bytes.
diff_ids_right() {
	mkdir ids && tar -xf "$1" -C ids
	manifest=ids/blobs/sha256/$(manifest_of ids)
	config=$(jq -r '.config.digest' "$manifest")
	jq -r '.rootfs.diff_ids[]' "ids/blobs/sha256/${config#sha256:}" >wanted.ids
	for layer in $(jq -r '.layers[].digest' "$manifest"); do
		file=ids/blobs/sha256/${layer#sha256:}
		case $(head -c 4 "$file" | od -An -tx1 | tr -d ' ') in
		1f8b*) zcat "$file" ;;
		28b52ffd) zstd -dc "$file" ;;
		*) cat "$file" ;;
		esac | sha256sum | sed 's/^\([^ ]*\).*/sha256:\1/'
	done >got.ids
	same "$(cat got.ids)" "$(cat wanted.ids)"
	[ "$(wc -l <got.ids)" = 4 ] || wrong "there are $(wc -l <got.ids) layers"
	rm -r ids
}

# An image whose layer is not what its configuration says is refused, and leaves nothing.
test_built_differ_lies() {
	start
	mkdir lie
	(
		cd lie
		mkdir tree && echo one >tree/one && tar_of layer tree
		oci_image ../image.tar localhost/lie:1 layer
		mkdir x && tar -xf ../image.tar -C x
		old=$(jq -r '.config.digest' "x/blobs/sha256/$(manifest_of x)")
		sed -E 's/("diff_ids":\["sha256:)[0-9a-f]{8}/\100000000/' "x/blobs/sha256/${old#sha256:}" >config
		new=$(sha256sum <config | cut -d ' ' -f 1)
		cp config "x/blobs/sha256/$new"
		manifest=$(manifest_of x)
		sed "s/${old#sha256:}/$new/" "x/blobs/sha256/$manifest" >manifest
		made=$(sha256sum <manifest | cut -d ' ' -f 1)
		cp manifest "x/blobs/sha256/$made"
		sed -i "s/$manifest/$made/" x/index.json
		tar -C x -cf ../lie.tar oci-layout index.json blobs
	)
	import lie.tar 2>err && wrong "a false diff ID was taken" || true
	grep -qiE 'diff ?id|digest|mismatch' err || wrong "the error is: $(cat err)"
	remove_all
	nothing_left
	import image.tar
	remove_all
	nothing_left
}
