//! What a diff says so that every applier reads it alike; `tests/peers` shows that they do.

use crate::lab::Lab;
use crate::support::fsys;
use ovl::store::Against;

#[test]
fn each_name_of_a_file_says_its_capabilities() {
    require!("root", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.create("x", "");
        let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        lab.change("x", |at| {
            std::fs::write(at.join("one"), "1").unwrap();
            xattr::set(at.join("one"), "security.capability", capability).unwrap();
            xattr::set(at.join("one"), "user.note", b"once is enough").unwrap();
            std::fs::hard_link(at.join("one"), at.join("two")).unwrap();
        });
        let tar = lab.diff("x", Against::Nothing);
        let count = |what: &[u8]| tar.windows(what.len()).filter(|w| w == &what).count();
        assert_eq!(count(b"SCHILY.xattr.security.capability="), 2);
        assert_eq!(count(b"SCHILY.xattr.user.note="), 1);
    });
}
