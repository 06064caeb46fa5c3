//! The trees and tars that the jobs work on: the same bytes on every machine.

use crate::digest::{self, Scope, TreeDigest};
use crate::grow;
use crate::options::Options;
use crate::run::{has, sh};
use std::fs;
use std::path::{Path, PathBuf};

/// How GNU tar is told to keep what a layer has.
pub const TAR: &str = "tar --xattrs --xattrs-include=* --acls --numeric-owner";

/// Builds each on its first use, below one directory.
pub struct Inputs<'a> {
    options: &'a Options,
    dir: PathBuf,
}

/// A tar, and the tree that it gives.
#[derive(Clone)]
pub struct Archive {
    /// The file.
    pub file: PathBuf,
    /// The tree.
    pub tree: PathBuf,
    /// Its digest.
    pub digest: TreeDigest,
}

impl<'a> Inputs<'a> {
    /// They will lie in `dir`.
    pub fn new(options: &'a Options, dir: PathBuf) -> Result<Inputs<'a>, String> {
        fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Inputs { options, dir })
    }

    /// The large tree.
    pub fn tree(&self) -> Result<PathBuf, String> {
        match &self.options.tree {
            Some(tree) => Ok(tree.clone()),
            None => self.once("tree", |dir| {
                grow::root_file_system(dir, self.options.entries)
            }),
        }
    }

    /// The large tree as a tar.
    pub fn tree_tar(&self) -> Result<Archive, String> {
        let tree = self.tree()?;
        self.pack("tree.tar", &tree, "cat")
    }

    /// A tree of a thousand entries at most, as a tar.
    pub fn little(&self) -> Result<Archive, String> {
        let entries = self.options.entries.min(1000);
        let tree = self.once("little", |dir| grow::root_file_system(dir, entries))?;
        self.pack("little.tar", &tree, "cat")
    }

    /// The tar of many small files, or the caller's.
    pub fn small(&self) -> Result<Archive, String> {
        match &self.options.tar {
            Some(tar) => self.unpack(tar),
            None => {
                let tree = self.once("small", |dir| grow::small_files(dir, self.options.small))?;
                self.pack("small.tar", &tree, "cat")
            }
        }
    }

    /// A tar through `gzip` or `zstd`: of mixed content, or the caller's.
    pub fn packed(&self, by: &str) -> Result<Archive, String> {
        // A gzip file is the same stream whoever made it, but for the level.
        let through = match by {
            "gzip" if has("pigz") => "pigz -6 -n",
            "gzip" => "gzip -6 -n",
            _ if has("zstd") => "zstd -q -3",
            _ => return Err("left out: there is no zstd (package zstd)".to_string()),
        };
        match &self.options.tar {
            Some(tar) => {
                let mut archive = self.unpack(tar)?;
                archive.file = self.dir.join(format!("given.{by}"));
                if !archive.file.exists() {
                    let (from, to) = (tar.display(), archive.file.display());
                    sh(&self.dir, &format!("{through} <'{from}' >'{to}'"))?;
                }
                Ok(archive)
            }
            None => {
                let tree = self.once("big", |dir| grow::mixed(dir, self.options.big))?;
                self.pack(&format!("big.tar.{by}"), &tree, through)
            }
        }
    }

    fn once(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<PathBuf, String> {
        let dir = self.dir.join(name);
        if !dir.exists() {
            let told = |error: std::io::Error| format!("{}: {error}", dir.display());
            fs::create_dir(&dir).map_err(told)?;
            make(&dir).map_err(told)?;
        }
        Ok(dir)
    }

    fn pack(&self, name: &str, tree: &Path, through: &str) -> Result<Archive, String> {
        let file = self.dir.join(name);
        if !file.exists() {
            let (from, to) = (tree.display(), file.display());
            sh(
                &self.dir,
                &format!(
                    "{TAR} --sort=name --format=posix -I '{through}' -C '{from}' -cf '{to}' ."
                ),
            )?;
        }
        let digest = self.digest(name, tree)?;
        Ok(Archive {
            file,
            tree: tree.to_path_buf(),
            digest,
        })
    }

    /// The caller's tar: GNU tar says what is in it.
    fn unpack(&self, tar: &Path) -> Result<Archive, String> {
        let tree = self.dir.join("given");
        if !tree.exists() {
            let (from, to) = (tar.display(), tree.display());
            sh(
                &self.dir,
                &format!("mkdir '{to}'; {TAR} -xpf '{from}' -C '{to}'"),
            )?;
        }
        let digest = self.digest("given", &tree)?;
        Ok(Archive {
            file: tar.to_path_buf(),
            tree,
            digest,
        })
    }

    /// The digest of a tree, found once.
    pub fn digest(&self, name: &str, tree: &Path) -> Result<TreeDigest, String> {
        let kept = self.dir.join(format!("{name}.digest"));
        if let Some((sha256, entries)) = fs::read_to_string(&kept)
            .ok()
            .as_deref()
            .and_then(|text| text.split_once(' '))
        {
            let entries = entries
                .parse()
                .map_err(|_| format!("{}: damaged", kept.display()))?;
            return Ok(TreeDigest {
                sha256: sha256.to_string(),
                entries,
            });
        }
        let digest = digest::of(tree, Scope::All)?;
        let text = format!("{} {}", digest.sha256, digest.entries);
        fs::write(&kept, text).map_err(|e| format!("{}: {e}", kept.display()))?;
        Ok(digest)
    }
}
