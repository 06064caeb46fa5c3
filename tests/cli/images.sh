# Images: with other programs' tools on the other side, and what run makes of one.
#
# Nothing is fetched: all images are made here.

# saved FILE CONFIG [TAR...]: a docker save archive, with these layers, or the tiny root file system.
saved() {
	file=$1 config=$2
	shift 2
	[ $# -gt 0 ] || set -- "$BASE/rootfs.tar"
	rm -rf save
	mkdir save
	layers= ids= n=0
	for tar in "$@"; do
		n=$((n + 1))
		cp "$tar" save/$n.tar
		layers="$layers${layers:+,}\"$n.tar\""
		ids="$ids${ids:+,}\"sha256:$(sha256 <"$tar")\""
	done
	echo "{\"config\":$config,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$ids]}}" >save/config.json
	echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"app:1\"],\"Layers\":[$layers]}]" >save/manifest.json
	tar -C save -cf "$file" .
}

# A layout `lay` with the image `1.0` of two layers, by umoci: links, modes, owners, and what goes.
layout() {
	need umoci
	umoci init --layout lay
	umoci new --image lay:1.0
	umoci unpack --image lay:1.0 bundle >log 2>&1 || wrong "$(cat log)"
	root=bundle/rootfs
	cp -a "$BASE/rootfs/." $root
	mkdir $root/dir $root/gone $root/opaque
	echo one >$root/dir/file
	ln $root/dir/file $root/dir/hard
	ln -s file $root/dir/soft
	echo x >$root/gone/file
	echo x >$root/opaque/old
	chmod 4755 $root/dir/file
	chmod 1770 $root/gone
	# A user namespace with one id has no other owner.
	! is_root || chown 5:6 $root/dir
	umoci repack --refresh-bundle --image lay:1.0 bundle >log 2>&1 || wrong "$(cat log)"
	rm -r $root/gone $root/opaque
	mkdir $root/opaque
	echo new >$root/opaque/new
	echo two >$root/dir/second
	umoci repack --image lay:1.0 bundle >log 2>&1 || wrong "$(cat log)"
	umoci config --image lay:1.0 --config.env KEY=value --config.cmd /bin/sh --config.workingdir /work
	rm -r bundle
	umoci unpack --image lay:1.0 bundle >log 2>&1 || wrong "$(cat log)"
}

# What a tree is: names, kinds, modes, owners, links, contents, and times of what is no directory.
describe() {
	(cd "$1" && find . -mindepth 1 -printf '%P %y %m %U:%G %n %l\n' | sed 's/^\([^ ]* d [^ ]* [^ ]*\) [0-9]*/\1/' | sort &&
		find . -type f -exec sha256sum {} + | sort && find . -type f -printf '%P %T@\n' | sed 's/\.[0-9]*$//' | sort)
}

# The tree of the layer $1 is that of the directory $2.
same_tree() {
	path=$(ovl mount "$1" --ro)
	describe "$path" >is
	ovl unmount "$1"
	describe "$2" >wanted
	cmp -s is wanted || wrong "$(diff is wanted)"
}

test_import_what_umoci_makes() {
	layout
	top=$(ovl import lay app)
	same "$(ovl images)" app
	same "$(ovl --json images | jq -r '.[0].layer, .[0].layers')" "$(printf '%s\n2' "$top")"
	same_tree "$top" bundle/rootfs
	ovl rmi app
	same "$(ovl list)$(ovl images)" ""
	tar -C lay -cf lay.tar .
	same "$(ovl import lay.tar app)" "$top"
	ovl rmi app
	same "$(gzip -c lay.tar | ovl import - app)" "$top"
	exits 0 "$OVL" check
}

test_import_what_skopeo_makes() {
	need skopeo
	layout
	top=$(ovl import lay app)
	skopeo copy -q oci:lay:1.0 docker-archive:saved.tar:registry.example/app:1
	skopeo copy -q oci:lay:1.0 oci-archive:archive.tar:1.0
	skopeo copy -q --format v2s2 oci:lay:1.0 oci:v2:1.0
	for from in saved.tar archive.tar v2; do
		same "$(ovl import $from other)" "$top"
		ovl rmi other
	done
	ovl import --ref app:1 saved.tar other >out
	refuses 'import: other: no image is called "app:2"; there is: registry.example/app:1$' import --ref app:2 saved.tar other
	# Several in one layout.
	umoci tag --image lay:1.0 2.0
	umoci config --image lay:2.0 --config.env KEY=other
	refuses 'import: other: there are several images, say which: 1\.0.*, 2\.0' import lay other
	same "$(ovl import --ref 2.0 lay other)" "$top"
	refuses 'import: other: the image is for linux/.*, not for linux/s390x$' import --ref 2.0 --platform linux/s390x lay other
}

test_import_what_buildah_makes() {
	need buildah
	mkdir -p b run
	build() {
		buildah --root "$T/b" --runroot "$T/run" --storage-driver vfs "$@"
	}
	box=$(build from scratch 2>log) || skip "buildah here: $(tail -n 1 log)"
	# buildah keeps whole seconds.
	cp -a "$BASE/rootfs" mine
	find mine -exec touch -h -d @1700000000 {} +
	build copy -q "$box" mine / >log 2>&1 || wrong "$(cat log)"
	build config --entrypoint '["/bin/sh","-c"]' --cmd '["echo \"from buildah: $WORD\""]' --env WORD=hello "$box"
	build commit -q "$box" "oci-archive:$T/built.tar:v1" >log 2>&1 || wrong "$(cat log)"
	ovl import built.tar built >out
	same "$(ovl run --rm --image built)" "from buildah: hello"
	same_tree "$(cat out)" mine
	# And back: what is exported it reads.
	ovl export built export.tar >out 2>err
	build pull -q "oci-archive:$T/export.tar" >out 2>log || wrong "$(cat log)"
	again=$(build from "$(cat out)")
	same "$(build config --env X=1 "$again" && build inspect --format '{{index .OCIv1.Config.Env 0}}' "$again")" WORD=hello
	build rm -a >log
}

test_export_is_read_by_others() {
	need skopeo
	layout
	ovl import lay app:1.0 >out
	mkdir out.d
	digest=$(ovl export app:1.0 out.d 2>err)
	one_line 'export: app:1.0: the layers were made anew'
	same "$(ovl export app:1.0 out.tar 2>err)" "$digest"
	ovl export app:1.0 - >again.tar 2>err
	cmp out.tar again.tar
	ovl export app:1.0 - 2>err | cat >again.tar
	cmp out.tar again.tar
	for from in oci:out.d:1.0 oci-archive:out.tar:1.0; do
		same "$(skopeo inspect --format '{{.Digest}}' $from)" "$digest"
		same "$(skopeo inspect --config $from | jq -r '.config.Env[] | select(startswith("KEY"))')" KEY=value
		rm -rf copy
		skopeo copy -q $from dir:copy
	done
	same "$(skopeo inspect --config oci:out.d:1.0 | jq -c '.history')" "$(skopeo inspect --config oci:lay:1.0 | jq -c '.history')"
	umoci unpack --image out.d:1.0 theirs >log 2>&1 || wrong "$(cat log)"
	describe theirs/rootfs >is
	describe bundle/rootfs >wanted
	cmp -s is wanted || wrong "$(diff is wanted)"
	skopeo copy -q oci:out.d:1.0 docker-archive:back.tar:app:2
	ovl import back.tar back >out
	same_tree "$(cat out)" bundle/rootfs
}

test_podman_loads_an_export() {
	need podman
	layout
	ovl import --keep-blobs lay app:1.0 >out
	ovl export app:1.0 out.tar >digest
	load() {
		podman --root "$BASE/p" --runroot "$BASE/r" --storage-driver vfs "$@"
	}
	load info >log 2>&1 || skip "podman here: $(tail -n 1 log)"
	load load -q -i out.tar >log 2>&1 || wrong "$(cat log)"
	same "$(load images -q --no-trunc)" "$(ovl --json images | jq -r '.[0].config')"
	load rmi -a -f >log 2>&1
	rm -rf "$BASE/p" "$BASE/r"
}

test_kept_blobs_are_exported_byte_for_byte() {
	need skopeo
	layout
	ovl import --keep-blobs lay app:1.0 >out
	mkdir out.d
	digest=$(ovl export app:1.0 out.d 2>err)
	same "$(cat err)" ""
	same "$digest" "$(skopeo inspect --format '{{.Digest}}' oci:lay:1.0)"
	(cd out.d/blobs/sha256 && for blob in *; do
		same "$(sha256 <$blob)" $blob
		cmp $blob ../../../lay/blobs/sha256/$blob
	done)
	ovl export app:1.0 out.tar >out
	skopeo copy -q --preserve-digests oci-archive:out.tar:1.0 dir:copy
	same "sha256:$(sha256 <copy/manifest.json)" "$digest"
	ovl rmi app:1.0
	same "$(ls store/blob/sha256)$(ovl list)" ""
}

# docker's manifests stay what they are.
test_kept_blobs_of_a_docker_manifest() {
	need skopeo
	layout
	skopeo copy -q --format v2s2 oci:lay:1.0 oci:v2:1.0
	skopeo copy -q --format v2s2 oci:lay:1.0 dir:wanted
	jq -e '.manifests[0].mediaType | test("docker")' v2/index.json >out
	top=$(ovl import --keep-blobs v2 app:1.0)
	same "$top" "$(ovl import lay other)"
	mkdir out.d
	digest=$(ovl export app:1.0 out.d)
	same "$digest" "sha256:$(sha256 <wanted/manifest.json)"
	same "$(jq -r '.manifests[0] | .digest, .mediaType' out.d/index.json)" "$(jq -r '.manifests[0] | .digest, .mediaType' v2/index.json)"
	(cd out.d/blobs/sha256 && for blob in *; do
		cmp $blob ../../../v2/blobs/sha256/$blob
	done)
	ovl export app:1.0 out.tar >out
	for from in oci:out.d oci-archive:out.tar; do
		rm -rf copy
		skopeo copy -q --preserve-digests $from dir:copy
		cmp copy/manifest.json wanted/manifest.json
		skopeo copy -q $from docker-archive:back.tar:app:2
		same "$(ovl import back.tar back)" "$top"
		rm back.tar
	done
	same "$(ovl import --ref 1.0 out.d again)" "$top"
	# Made anew it is OCI's, and found by its name.
	ovl import v2 app:1.0 >out
	ovl export app:1.0 - >out.tar 2>err
	rm -rf copy
	skopeo copy -q oci-archive:out.tar:1.0 dir:copy
}

test_exports_appear_whole() {
	saved a.tar '{}'
	ovl import a.tar app >out
	echo old >there
	exits 0 "$OVL" export app there
	tar -tf there | grep -qx index.json
	same "$(stat -c %a there)" 644
	echo old >there
	refuses 'export: nosuch: ' export nosuch there
	same "$(cat there)" old
	mkdir full
	echo x >full/x
	refuses 'export: app: the directory is not empty$' export app full
	refuses 'export: nosuch/there: ' export app nosuch/there
	ovl rm "$(ovl list)"
	refuses 'export: sha256-[0-9a-f]*: the image.s layer is missing: import it again$' export app there
	same "$(cat there)" old
	same "$(ls -A)" "$(printf 'a.tar\nerr\nfull\nout\nsave\nstore\nthere')"
	exits 1 "$OVL" check
	grep -q '^image/app: no layer: ' out
	exits 0 "$OVL" --json images
	one_line 'images: sha256-[0-9a-f]*: '
	same "$(jq -r '.[0].name' out)" app
	ovl import a.tar app >out
	exits 0 "$OVL" check
}

test_bad_images_are_one_line() {
	saved a.tar '{}'
	refuses 'import: nosuch.tar: ' import nosuch.tar app
	refuses 'import: -a: an image.s name is ' import a.tar -- -a
	refuses 'import: app: it is no image archive' import "$BASE/rootfs.tar" app
	refuses 'import: .*: a platform is ' import --platform linux a.tar app
	exits 1 "$OVL" rmi app
	exits 1 "$OVL" import a.tar
	same "$(ovl list)$(ovl images)" ""
	same "$(ovl --json images)" "[]"
	ovl --json import a.tar app/x:1 | jq -e '.name == "app/x:1" and .layers == 1 and .made == 1' >out
}

# users: a layer tar with users and groups, and a command that tells who it is.
users() {
	mkdir -p top/etc
	printf 'root:x:0:0:root:/root:/bin/sh\nmail:x:8:12:mail:/var/mail:/bin/sh\n' >top/etc/passwd
	printf 'root:x:0:\nmail:x:12:\nextra:x:77:other,mail\n' >top/etc/group
	cat >top/who <<-'END'
		while read -r key rest; do
			[ "$key" = Groups: ] && groups=$rest
		done </proc/self/status
		echo $(id -u):$(id -g) $groups $HOME
	END
	tar_of users.tar top
}

test_run_image_as_the_config_says() {
	saved a.tar '{"Env":["KEY=a b","PATH=/bin","EMPTY="],"WorkingDir":"/made/for/it","Entrypoint":["/bin/sh","-c"],"Cmd":["echo $KEY:$PATH:$EMPTY:$PWD:$HOME:${MINE-none}"]}'
	ovl import a.tar team/app:1.0 >out
	export MINE=mine
	same "$(ovl run --image team/app:1.0)" "a b:/bin::/made/for/it:/:none"
	same "$(ovl run --image team/app:1.0 --rm 'echo given')" given
	same "$(ovl run --rm --image team/app:1.0  -- 'echo given; exit 3' || echo $?)" "$(printf 'given\n3')"
	# The container stays, by a name of its own, and can be looked at and run again.
	id=$(ovl list | grep -v ^sha256-)
	echo "$id" | grep -qxE 'app-1\.0-[0-9a-f]{8}' || wrong "$id"
	ovl changes "$id" | grep -qx 'A /made/for/it'
	same "$(ovl run "$id" /bin/sh -c 'echo again')" again
	ovl rm "$id"
	ovl run --name box --image team/app:1.0 'echo x >/new' >out
	same "$(ovl changes box | grep new)" 'A /new'
	exits 125 "$OVL" run --name box --image team/app:1.0 'echo x'
	one_line 'run: box: '
	# In use, the image's layers stay; then they can go.
	ovl rmi team/app:1.0
	same "$(ovl list | wc -l)" 2
	ovl rm box
	ovl rm "$(ovl list)"
}

# Of the variables with one name the last counts, wherever it stands; many take no time.
test_run_image_with_many_variables() {
	env='"A=1","PATH=/bin","B=x=y","A=2","HOME=/h","=none","none"'
	many=$(seq -s, -f '"V%.0f=1"' 60000)
	saved a.tar "{\"Env\":[$env,$many,\"V7=last\",\"HOME=/home\"],\"Entrypoint\":[\"/bin/sh\",\"-c\"]}"
	ovl import a.tar app >out
	same "$(timeout 15 "$OVL" run --rm --image app 'echo $A $B $HOME $PATH $V1 $V7 $V60000')" '2 x=y /home /bin 1 last 1'
}

# Who may not give up his groups does not run a command with them.
test_run_image_keeps_no_groups() {
	is_root || skip root
	need setpriv
	saved a.tar '{"User":"0:0","Cmd":["/bin/sh","-c","while read -r key rest; do [ $key != Groups: ] || echo $rest; done </proc/self/status"]}'
	ovl import a.tar app >out
	same "$(setpriv --groups 0,27 "$OVL" run --rm --image app)" ""
	exits 125 setpriv --groups 0,27 --inh-caps=-setgid --bounding-set=-setgid "$OVL" run --rm --image app
	one_line 'run: 0:0: Operation not permitted'
}

test_run_image_users() {
	is_root || skip root
	users
	# The user, and who that is: ids, other groups, home.
	while IFS='|' read -r user told; do
		saved a.tar "{\"User\":\"$user\",\"Cmd\":[\"/bin/sh\",\"/who\"]}" "$BASE/rootfs.tar" users.tar
		ovl import a.tar app >out
		same "$user is $(ovl run --rm --image app)" "$user is $told"
	done <<-'END'
		|0:0 /root
		root|0:0 /root
		mail|8:12 77 /var/mail
		8|8:12 77 /var/mail
		mail:|8:12 77 /var/mail
		mail:extra|8:77 /var/mail
		8:0|8:0 /var/mail
		1234|1234:0 /
		1234:5|1234:5 /
	END
	for user in nobody 'mail:none' 99999999999 '-1'; do
		saved a.tar "{\"User\":\"$user\",\"Cmd\":[\"/bin/sh\"]}" "$BASE/rootfs.tar" users.tar
		ovl import a.tar app >out
		exits 125 "$OVL" run --rm --image app
		one_line 'run: [^ ]*: the layer has no such '
	done
	# What stands there may be anything.
	rm top/etc/passwd
	mkfifo top/etc/passwd
	tar_of users.tar top
	saved a.tar '{"User":"mail","Cmd":["/bin/sh"]}' "$BASE/rootfs.tar" users.tar
	ovl import a.tar app >out
	exits 125 timeout 20 "$OVL" run --rm --image app
	same "$(ovl list | grep -v ^sha256-)" ""
}

test_run_image_is_refused() {
	saved a.tar '{}'
	ovl import a.tar app >out
	exits 125 "$OVL" run --image app
	one_line 'run: app: the image says no command; give one$'
	exits 125 "$OVL" run --image nosuch true
	one_line 'run: nosuch: there is no such image$'
	exits 125 "$OVL" run --rm app true
	one_line 'run: --rm: goes with --image$'
	exits 125 "$OVL" run --image app --name '../x' /bin/sh
	exits 127 "$OVL" run --rm --image app nosuch
	exits 126 "$OVL" run --rm --image app /etc/motd
	same "$(ovl list | wc -l)" 1
	same "$(ovl run --rm --image app /bin/sh -c 'echo $PATH')" /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	exits 137 "$OVL" run --rm --image app /bin/sh -c 'kill -9 $$'
	same "$(ovl list | wc -l)" 1
}

# Without root: the image comes, runs and goes in a user namespace.
test_images_in_a_user_namespace() {
	unshare --user --map-root-user true 2>/dev/null || skip userns
	saved a.tar '{"Cmd":["/bin/sh","-c","echo $PWD"],"WorkingDir":"/w"}'
	unshare --user --map-root-user --mount sh -euc '
		"$OVL" import a.tar app >out
		"$OVL" run --rm --image app
		"$OVL" export app app.tar >out
		"$OVL" rmi app
		"$OVL" import app.tar app >out
		"$OVL" images
		"$OVL" rmi app
		"$OVL" list' >told 2>err || wrong "$(cat err)"
	same "$(cat told)" "$(printf '/w\napp')"
	grep -qx 'marks=user' store/ovl-store
}

# An image's config and links lead nowhere but into the layer: nothing that we, or whoever called us, have
# open of the host's is found by way of /proc.
test_run_image_finds_nothing_of_the_host() {
	mkdir "$T/host"
	echo secret >"$T/host/secret"
	exec 7<"$T/host"
	saved a.tar '{"Entrypoint":["/bin/sh"]}'
	ovl import a.tar app >out
	# The shell's own look at a directory is one.
	ovl run --rm --image app -- -c 'for fd in /proc/1/fd/*; do echo "${fd##*/}"; done' </dev/null >fds
	same "$(sort -n fds | tr '\n' ' ')" "0 1 2 "
	for fd in 3 4 5 7; do
		exits 2 "$OVL" run --rm --image app -- -c "cat /proc/1/fd/$fd/secret && exit 0; cat /proc/1/fd/$fd/../../etc/hostname && exit 0; exit 2"
		up=/proc/self/fd/$fd/../../../../../../../..
		saved b.tar "{\"WorkingDir\":\"$up$T/host/made\",\"Cmd\":[\"/bin/sh\",\"-c\",\"pwd\"]}"
		ovl import b.tar bad >out
		exits 125 "$OVL" run --rm --image bad
		one_line 'run: '
		[ ! -e "$T/host/made" ] || wrong "the config made a directory outside"
	done
	mkdir top
	ln -s /proc/self/fd/7 top/etc
	tar_of link.tar top
	saved c.tar '{"User":"outsider","Cmd":["/bin/sh"]}' "$BASE/rootfs.tar" link.tar
	echo 'outsider:x:1:1::/:/bin/sh' >"$T/host/passwd"
	ovl import c.tar c >out
	exits 125 "$OVL" run --rm --image c
	grep -q 'the layer has no such user' err || wrong "$(cat err)"
	exec 7<&-
}
