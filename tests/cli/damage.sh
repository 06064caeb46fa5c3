# Damage: what check says, what --repair and gc do, and that everything can be removed.

test_check_repairs_what_loses_nothing() {
	container
	rmdir store/layer/c/pin
	rm store/layer/base/child/c
	mkdir store/stage/left
	touch store/notes
	refuses 'check: .*: 4 found' check
	grep -qx 'c: missing: it has no pin' out
	grep -qx 'c: no hint: base does not know it as a child' out
	grep -q '^stage/left: leftover: ' out
	grep -q '^notes: foreign: ' out
	refuses 'check: .*: 1 found' check --repair
	same "$(grep -c '(repaired)$' out)" 3
	grep -qx 'notes: foreign: it is not the store.s' out
	rm store/notes
	exits 0 "$OVL" check --repair
	exits 0 "$OVL" check
	in_container 'true'
}

test_a_repair_needs_the_store_for_itself() {
	container
	mkfifo in
	ovl run c -- /bin/sh -c 'echo ready; read line' <in >ready &
	exec 9>in
	tries=0
	until grep -q ready ready 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 500 ] || wrong "the command did not start"
		sleep 0.02
	done
	refuses 'check: .*open elsewhere.*ovl gc' check --repair
	exits 0 "$OVL" check
	exits 0 "$OVL" gc
	echo >&9
	exec 9>&-
	wait
	exits 0 "$OVL" check --repair
}

test_a_damaged_layer_is_kept_and_can_go() {
	container
	in_container 'echo mine >/mine'
	: >store/layer/c/meta
	same "$(ovl list)" base
	refuses 'create: c: .*damaged.*ovl rm c' create c base
	refuses 'apply: c: .*damaged.*ovl rm c' apply c "$BASE/rootfs.tar"
	refuses 'rm: base: .*built on it: c' rm base
	ovl gc >out
	same "$(cat store/layer/c/upper/mine)" mine
	exits 1 "$OVL" check --repair
	grep -q '^c: damaged: meta' out
	same "$(cat store/layer/c/upper/mine)" mine
	ovl rm c
	exits 0 "$OVL" check
	ovl rm base
	same "$(ls store/layer store/trash | tr -d '\n')" "store/layer:store/trash:"
}

test_gc_has_a_budget() {
	need jq
	mkdir tree
	(cd tree && seq 1 4000 | xargs touch)
	tar_of tree.tar tree
	for id in a b; do
		ovl apply $id tree.tar >/dev/null
		mv store/layer/$id store/trash/
	done
	ovl --json gc --budget 0 >out
	jq -e '.left > 0' out >/dev/null || wrong "$(cat out)"
	left=$(find store/trash | wc -l)
	[ "$left" -lt 8020 ] || wrong "nothing went"
	rounds=0
	until ovl --json gc --budget 0.01 | jq -e '.left == 0' >/dev/null; do
		rounds=$((rounds + 1))
		[ $rounds -lt 10000 ] || wrong "it does not end"
	done
	same "$(ls store/trash)" ""
	refuses 'gc: --budget: must be seconds' gc --budget soon
	refuses 'gc: --budget: must be seconds' gc --budget -1
	refuses 'gc: --budget: must be seconds' gc --budget=
}

test_usage_tells_own_from_shared() {
	need jq
	base
	mkdir top
	head -c 100000 /dev/zero >top/own
	tar_of top.tar top
	ovl apply both --parent base --kind root top.tar >/dev/null
	ovl usage >out
	same "$(awk '{ print $NF }' out | tr '\n' ' ')" "LAYER base both store) "
	ovl usage both | awk 'END { exit !($1 >= 100000 && $2 > 0 && $5 == "both") }'
	ovl --json usage | jq -e 'map(.id) == ["base", "both", ""] and .[0].shared_bytes > 0
		and .[0].shared_bytes == .[1].shared_bytes and .[2].shared_bytes == 0' >/dev/null
	refuses 'usage: nosuch: ' usage nosuch
	same "$(cat out)" ""
}
