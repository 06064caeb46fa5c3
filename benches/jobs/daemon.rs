//! containerd: a daemon for the time of a job.

use crate::inputs::Archive;
use crate::job::Run;
use crate::place::Place;
use crate::run::{Line, has, sh};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running containerd, with its state on the file system that is measured. It takes an image as an
/// archive and unpacks it, in one request: `ctr images import`; unpacking alone cannot be asked for.
pub struct Containerd {
    dir: PathBuf,
    daemon: Child,
}

impl Containerd {
    /// Whether it is installed, and may run: in a namespace that it cannot outlive.
    pub fn is_there() -> bool {
        has("containerd") && has("ctr") && has("umoci") && crate::place::private()
    }

    /// Starts it; and makes an archive of an image with this one layer.
    pub fn start(place: &Place, archive: &Archive) -> Result<Containerd, String> {
        let image = format!(
            "rm -rf e oci2; umoci init --layout oci2; umoci new --image oci2:x; gzip -dc {} >oci2.tar;
             umoci raw add-layer --image oci2:x oci2.tar; tar -C oci2 -cf image.tar .; rm -rf oci2 oci2.tar;
             mkdir e",
            archive.file.display()
        );
        sh(&place.dir, &image)?;
        let dir = place.dir.clone();
        let at = |name: &str| dir.join("e").join(name);
        let daemon = Command::new("containerd")
            .arg("--root")
            .arg(at("root"))
            .arg("--state")
            .arg(at("state"))
            .arg("-a")
            .arg(at("socket"))
            .args(["-l", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("containerd: {e}"))?;
        let this = Containerd { dir, daemon };
        let start = Instant::now();
        while sh(&this.dir, "ctr -a e/socket version >/dev/null").is_err() {
            if start.elapsed() > Duration::from_secs(30) {
                return Err("containerd does not answer".to_string());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(this)
    }

    /// The import, each time into a containerd that has nothing.
    pub fn run<'a>(self) -> Run<'a> {
        let import = "ctr -a e/socket images import --snapshotter overlayfs --base-name bench.test/x image.tar";
        let mut run = Run::new("containerd", Line::new(&self.dir, import));
        run.daemon = true;
        run.after(move || {
            let forget =
                "ctr -a e/socket images rm --sync bench.test/x:x >/dev/null 2>&1 || :; sync -f .";
            sh(&self.dir, forget)
        })
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = sh(&self.dir, "rm -rf e image.tar");
    }
}
