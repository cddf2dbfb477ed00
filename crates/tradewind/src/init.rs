//! `tradewind init`: what an installation needs before its first start. A configuration of nats-server that
//! lets in our own processes and nobody else, their keys, and an API key. `leaf` is the server of a site that
//! may lose its connection.

mod leaf;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use nkeys::KeyPair;
use node::{
    nats_users::{Identity, NatsUser, configuration, random_secret},
    say,
};
use protocol::id::Shop;
use url::Url;

/// The files of a nats-server alone and of a cluster, which include the users.
const NATS_FILES: [(&str, &str); 2] = [
    ("single.conf", include_str!("../../../nats/single.conf")),
    ("cluster.conf", include_str!("../../../nats/cluster.conf")),
];
/// The file with the users, beside them.
const USERS: &str = "users.conf";
/// The file that says where leaf nodes connect, beside them.
const LEAF_NODES: &str = "leafnodes.conf";
/// What it says until there is one.
const NO_LEAF_NODES: &str = "# No leaf node may connect.\n";
/// What ends it.
const END_OF_USERS: &str = "  ]\n}\n";

/// Where.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder that is made
    #[arg(default_value = "tradewind-installation")]
    folder: PathBuf,
}

/// An ERP connector that sends lines to nats-server.
#[derive(Debug, Args)]
pub(crate) struct NewConnector {
    /// Its name: that of its file with the key, and what its answers are sent to
    name: String,
    /// The shop whose lines it sends
    #[arg(long, value_parser = Shop::parse)]
    shop: Shop,
    /// It is at a site with a nats-server of its own, which reaches that of the installation at this address, such
    /// as `nats-leaf://shop.example.com:7422`
    #[arg(long, value_name = "URL", value_parser = leaf::address)]
    leaf: Option<Url>,
    /// The folder that `tradewind init` made
    #[arg(long, default_value = "tradewind-installation")]
    folder: PathBuf,
}

/// Makes the folder.
pub(crate) fn init(Init { folder }: &Init) -> Result<()> {
    let (nats, keys) = (folder.join("nats"), folder.join("keys"));
    if nats.join(USERS).exists() {
        bail!("{} has users already: name another folder, or delete it", folder.display());
    }
    for folder in [&nats, &keys] {
        fs::create_dir_all(folder)
            .with_context(|| format!("make the folder {}", folder.display()))?;
    }
    for (name, text) in NATS_FILES {
        write(&nats.join(name), text)?;
    }
    let mut users = Vec::new();
    for user in NatsUser::of_installation() {
        let public = make_key(&keys, &user.name)?;
        users.push((user, Identity::Nkey(public)));
    }
    write(&nats.join(USERS), &configuration(&users))?;
    write(&nats.join(LEAF_NODES), NO_LEAF_NODES)?;
    write_private(&keys.join("routes-password"), &format!("routes_{}", random_secret()))?;
    write_private(&folder.join("api-key"), &format!("tw_{}", random_secret()))?;
    let shown = folder.display();
    say!("made {shown}:");
    say!("  nats/single.conf, cluster.conf   nats-server alone, and one of three");
    say!("  nats/users.conf                  who may do what there");
    say!("  nats/leafnodes.conf              where leaf nodes connect: nowhere yet");
    say!("  keys/*.nk                        the private keys of these users: keep them secret");
    say!(
        "  keys/routes-password             what the servers of a cluster tell each other: keep it secret"
    );
    say!("  api-key                          the first API key of the gateway: keep it secret");
    say!("");
    say!("start nats-server and Tradewind with it:");
    say!("");
    say!("  TRADEWIND_NATS_STORE={shown}/store nats-server --config {shown}/nats/single.conf &");
    say!("  tradewind serve --nats-key-file {shown}/keys/tradewind.nk \\");
    say!("    --nats-monitor-url http://127.0.0.1:8222 --api-key-file {shown}/api-key");
    Ok(())
}

/// Adds a user who may send the lines of a shop to the gateways and nothing else.
pub(crate) fn add_connector(options: &NewConnector) -> Result<()> {
    let NewConnector { name, shop, leaf, folder } = options;
    // Before the user is added: a name that has one cannot be given again.
    if leaf.is_some() {
        leaf::site(name, folder)?;
    }
    let key = add_user(name, folder, || NatsUser::of_connector(name, shop))?;
    if let Some(address) = leaf {
        return leaf::make((name, shop), address, folder, &key);
    }
    let user = NatsUser::of_connector(name, shop);
    let replies = user.subscribe.concat();
    say!("its key is in {}. It may send lines of {shop} and nothing else:", key.display());
    say!("");
    for subject in &user.publish {
        say!("  {subject}");
    }
    say!("");
    say!("the prefix of its inboxes must be {}.", replies.trim_end_matches(".>"));
    say!("docs/erp.md shows a program.");
    Ok(())
}

/// Adds a user to the file of users; where its key is.
pub(crate) fn add_user(
    name: &str,
    folder: &Path,
    user: impl FnOnce() -> NatsUser,
) -> Result<PathBuf> {
    let is_name = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_name {
        bail!("the name must be 1 to 63 lower-case letters, digits and hyphens, got {name:?}");
    }
    let file = folder.join("nats").join(USERS);
    let text = fs::read_to_string(&file).with_context(|| {
        format!("read {}: make the installation with `tradewind init` first", file.display())
    })?;
    let keys = folder.join("keys");
    if keys.join(format!("{name}.nk")).exists() {
        bail!("there is a user {name} already: choose another name");
    }
    let public = make_key(&keys, name)?;
    write(&file, &with_user(&text, &(user(), Identity::Nkey(public)))?)?;
    say!("added {name} to {}; let nats-server read it again:", file.display());
    say!("");
    say!("  nats-server --signal reload");
    say!("");
    Ok(keys.join(format!("{name}.nk")))
}

/// The file of users with one more.
fn with_user(text: &str, user: &(NatsUser, Identity)) -> Result<String> {
    let before = text.strip_suffix(END_OF_USERS);
    let before = before.context("nats/users.conf does not end as `tradewind init` wrote it")?;
    let alone = configuration(std::slice::from_ref(user));
    let added = alone.split_once("users: [\n").map(|(_, added)| added);
    Ok(format!("{before}{}", added.unwrap_or(END_OF_USERS)))
}

/// Makes a key, and returns its public part.
fn make_key(folder: &Path, name: &str) -> Result<String> {
    let key = KeyPair::new_user();
    let seed = key.seed().with_context(|| format!("make the key of {name}"))?;
    write_private(&folder.join(format!("{name}.nk")), &seed)?;
    Ok(key.public_key())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

/// Writes a new file that its owner alone can read.
fn write_private(file: &Path, text: &str) -> Result<()> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| writeln!(opened, "{text}"));
    written.with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_added_behind_the_others() {
        let nkey = |key: &str| Identity::Nkey(key.to_owned());
        let first = (NatsUser::of_operator(), nkey("UA"));
        let second = (NatsUser::of_integrator("reports", None), nkey("UB"));
        let text = configuration(std::slice::from_ref(&first));
        let both = with_user(&text, &second).expect("it ends as it was written");
        assert_eq!(both, configuration(&[first, second]));
    }

    #[test]
    fn an_installation_is_made_once_and_its_keys_are_private() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = Init { folder: folder.path().join("here") };
        init(&options).expect("it is made");
        let keys = options.folder.join("keys");
        let mode = |file: &str| {
            let file = fs::metadata(keys.join(file)).expect("it is there");
            file.permissions().mode() & 0o777
        };
        assert_eq!(mode("tradewind.nk"), 0o600);
        let seed = fs::read_to_string(keys.join("order.nk")).expect("it is there");
        let public = KeyPair::from_seed(seed.trim()).expect("it is a key").public_key();
        let users = fs::read_to_string(options.folder.join("nats/users.conf")).expect("is there");
        assert!(users.contains(&public), "{users}");
        assert!(init(&options).is_err(), "what is there is not overwritten");
    }

    #[test]
    fn no_user_is_added_for_a_leaf_node_whose_folder_is_there() {
        let made = tempfile::tempdir().expect("a temporary folder");
        let folder = made.path().join("here");
        init(&Init { folder: folder.clone() }).expect("it is made");
        let users = || fs::read_to_string(folder.join("nats/users.conf")).expect("it is there");
        let options = NewConnector {
            name: "warehouse".to_owned(),
            shop: Shop::parse("acme").expect("is a name"),
            leaf: leaf::address("nats-leaf://shop.example.com:7422").ok(),
            folder: folder.clone(),
        };
        let (site, before) = (folder.join("leaf-warehouse"), users());
        fs::create_dir(&site).expect("it is made");
        let error = add_connector(&options).expect_err("the folder is there").to_string();
        assert!(error.ends_with("leaf-warehouse is there already: move it away"), "{error}");
        assert_eq!(users(), before);
        assert!(!folder.join("keys/warehouse.nk").exists());
        // Moved away, it is no hindrance.
        fs::remove_dir(&site).expect("it is removed");
        add_connector(&options).expect("it is added");
        assert!(site.join("warehouse.nk").exists());
    }
}
