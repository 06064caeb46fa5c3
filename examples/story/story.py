"""One story, in Python: story.py STORE BASE.tar APP.tar (see story.c)"""

from __future__ import annotations

import os
import sys

import ovl


def apply(store: ovl.Store, id: str, tar: str, parent: str | None = None) -> None:
    info = store.apply(id, tar, parent=parent)
    print(id, info.diff_id)


def tell(home: str, base: str, app: str) -> None:
    with ovl.Store(home) as store:
        apply(store, "base", base)
        apply(store, "app", app, parent="base")

        box = store.create("box", "app")
        try:
            store.create("box", "app")
        except FileExistsError:
            print("box is there already")

        with box.mount_detached() as root:
            with open("hello", "w", opener=lambda *how: os.open(*how, 0o644, dir_fd=root)) as file:
                file.write("hello\n")
            os.unlink("etc/motd", dir_fd=root)

        for change in box.changes():
            print(chr(change.kind), change.path)

        with open(os.devnull, "wb") as out:
            print("box", box.diff(out, clamp=1_700_000_000_000_000_000).diff_id)
        box.remove()


if __name__ == "__main__":
    tell(*sys.argv[1:])
