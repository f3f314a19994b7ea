//! What the process may still do to files once it runs: Landlock (Linux 5.13 and later), as far as the kernel has it.
//!
//! Begun before any thread is, since a thread can only bind itself and those it starts. So everything that happens later must
//! be allowed from the start: certificates are read anew from directories, where a renewed file is another file; a trace
//! directory that was taken away is made again in the directory above it; the resolver reads what it likes of `/etc` and
//! loads its modules from `/usr`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, path_beneath_rules,
};

use crate::record::daemon::admin::AdminAddr;
use crate::record::front::listen::ListenPlace;
use crate::record::options::Options;

/// The paths that a recorder needs, by what it does to them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    read: BTreeSet<PathBuf>,
    /// Files and directories are made, written and removed beneath these.
    write: BTreeSet<PathBuf>,
    /// Socket files are made and removed in these.
    sockets: BTreeSet<PathBuf>,
}

/// Gives up every access to files that a recorder with these options has no use for, for the whole process, for good. What
/// the kernel cannot restrict stays as it was, and a line in the log says so.
pub(in crate::record) fn enter(options: &Options) {
    let needs = Needs::of(options);
    match restrict(&needs) {
        Ok(LandlockStatus::Available { effective_abi, .. }) => tracing::info!(
            abi = ?effective_abi,
            writable = %list(&needs.write),
            "sandboxed with Landlock"
        ),
        Ok(_) => tracing::info!("not sandboxed: this kernel has no Landlock"),
        Err(error) => tracing::warn!(%error, "not sandboxed"),
    }
}

fn restrict(needs: &Needs) -> Result<LandlockStatus, RulesetError> {
    // Named, so that a newer crate does not restrict what was never thought about.
    let known = ABI::V5;
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile;
    let sockets = AccessFs::MakeSock | AccessFs::RemoveFile | AccessFs::ReadDir;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(known))?
        .create()?
        .add_rules(path_beneath_rules(&needs.read, read))?
        .add_rules(path_beneath_rules(&needs.write, write))?
        .add_rules(path_beneath_rules(&needs.sockets, sockets))?
        .restrict_self()?;
    Ok(status.landlock)
}

/// What the resolver, the loader of its modules, and the platform's certificates need.
const SYSTEM: [&str; 9] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/nscd",
    "/proc/self",
];

/// Variables that name files with credentials for a store.
const STORE_FILES: [&str; 5] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "AZURE_FEDERATED_TOKEN_FILE",
];

impl Needs {
    fn of(options: &Options) -> Self {
        let mut needs = Self {
            read: SYSTEM.iter().map(PathBuf::from).collect(),
            ..Self::default()
        };
        for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            needs
                .read
                .extend(std::env::var_os(variable).map(PathBuf::from));
        }
        for file in options.files_read_again() {
            needs.reads_around(&file);
        }
        if let Some(trace) = &options.trace {
            needs.writes(&trace.dir);
            if trace.keeping.store.is_some() {
                // Tokens that a cluster renews, and keys, where the environment names files.
                let named = STORE_FILES.iter().filter_map(std::env::var_os);
                named.for_each(|file| needs.reads_around(Path::new(&file)));
            }
        }
        if let Some(out) = options
            .mirror
            .as_ref()
            .and_then(|mirror| mirror.out.as_ref())
        {
            needs.writes_in(&out.dir);
        }
        for listen in &options.listen {
            if let ListenPlace::Unix(path) = &listen.place {
                needs.sockets.insert(above(path));
            }
        }
        if let Some(AdminAddr::Unix(path)) = options.admin.as_ref().map(|admin| &admin.addr) {
            needs.sockets.insert(above(path));
        }
        needs
    }

    /// A file that is replaced comes back under its name, or behind its link: both directories stay readable.
    fn reads_around(&mut self, file: &Path) {
        self.read.insert(above(file));
        if let Ok(behind) = file.canonicalize() {
            self.read.insert(above(&behind));
        }
    }

    /// A directory, and the one above it where that is no one else's: made again after it was taken away, the directory is
    /// another one.
    fn writes(&mut self, dir: &Path) {
        self.writes_in(dir);
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let up = above(&dir);
        if up.parent().is_some() {
            self.write.insert(up);
        }
    }

    /// A directory alone. It must be there for a rule to hold on to it.
    fn writes_in(&mut self, dir: &Path) {
        let _ = crate::directory::make_private(dir);
        self.write.insert(dir.to_owned());
    }
}

/// The directory that a path lies in.
fn above(path: &Path) -> PathBuf {
    match path.parent() {
        Some(up) if !up.as_os_str().is_empty() => up.to_owned(),
        _ if path.is_absolute() => path.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn list(paths: &BTreeSet<PathBuf>) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}
