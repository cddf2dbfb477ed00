//! The server of a site that may lose its connection, such as a warehouse: a leaf node. A connector there has
//! two keys: one at the installation's server, by which the leaf node is let in and may do what the connector
//! may, and one at the leaf node, by which the connector is.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use node::{
    nats_users::{self, Identity, NatsUser, leafnodes_configuration, link_configuration},
    say,
};
use protocol::id::Shop;
use url::Url;

use super::{LEAF_NODES, NO_LEAF_NODES, USERS, make_key, write, write_private};

/// Its configuration, which includes the files that are made for it.
const CONFIGURATION: (&str, &str) = ("leaf.conf", include_str!("../../../../nats/leaf.conf"));
const LINK: &str = "link.conf";
/// The port of leaf nodes unless the address names one.
const PORT: u16 = 7422;

/// Reads the address at which a leaf node reaches the installation's server.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}: write nats-leaf://host:7422"))?;
    let is_known = matches!(url.scheme(), "nats-leaf" | "nats" | "tls");
    if !is_known || url.host().is_none() {
        return Err("must be nats-leaf://host:port, or tls://host:port".to_owned());
    }
    Ok(url)
}

/// The folder that goes to the site of a connector. It must not be there yet.
pub(super) fn site(name: &str, folder: &Path) -> Result<PathBuf> {
    let site = folder.join(format!("leaf-{name}"));
    if site.exists() {
        bail!("{} is there already: move it away", site.display());
    }
    Ok(site)
}

/// Makes the folder that goes to the site. The connector has been added to the installation's users.
pub(super) fn make(
    (name, shop): (&str, &Shop),
    address: &Url,
    folder: &Path,
    key: &Path,
) -> Result<()> {
    let is_new = listen(&folder.join("nats").join(LEAF_NODES), address)?;
    let site = site(name, folder)?;
    fs::create_dir_all(&site).with_context(|| format!("make the folder {}", site.display()))?;
    let seed = fs::read_to_string(key).with_context(|| format!("read {}", key.display()))?;
    write(&site.join(CONFIGURATION.0), CONFIGURATION.1)?;
    write_private(&site.join(LINK), &link_configuration(address.as_str(), seed.trim()))?;
    let public = make_key(&site, name)?;
    let user = (NatsUser::of_leaf_connector(name, shop), Identity::Nkey(public));
    write(&site.join(USERS), &nats_users::configuration(&[user]))?;
    if is_new {
        say!("it takes connections of leaf nodes from its next start on: restart it.");
        say!("");
    }
    let shown = site.display();
    say!("{shown} goes to the site of {name}, where a nats-server runs with it:");
    say!("");
    say!(
        "  TRADEWIND_NATS_STORE=/var/lib/tradewind/nats nats-server --config {shown}/{}",
        CONFIGURATION.0
    );
    say!("");
    say!(
        "the connector there has the key {shown}/{name}.nk, and its inboxes the prefix erp.reply.{name}."
    );
    say!("docs/erp.md says what it does while the link is down.");
    Ok(())
}

/// Lets the installation's server take connections of leaf nodes; whether it did not before.
fn listen(file: &Path, address: &Url) -> Result<bool> {
    match fs::read_to_string(file) {
        Ok(text) if text != NO_LEAF_NODES => return Ok(false),
        Ok(_) => {}
        Err(error) => {
            return Err(error).with_context(|| {
                format!(
                    "read {}: make the installation with `tradewind init` first",
                    file.display()
                )
            });
        }
    }
    // A name may be that of a router in between.
    let host = address.host_str().unwrap_or_default();
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    let host = if is_address { host } else { "0.0.0.0" };
    let listen = format!("{host}:{}", address.port().unwrap_or(PORT));
    write(file, &leafnodes_configuration(&listen))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_a_server() {
        for text in ["nats-leaf://shop.example.com:7422", "tls://10.0.0.1:7422"] {
            assert_eq!(address(text).expect("is one").as_str(), text);
        }
        for text in ["shop.example.com", "http://shop.example.com", "nats-leaf:shop"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn leaf_nodes_connect_where_the_first_of_them_says() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(LEAF_NODES);
        let url = |text: &str| address(text).expect("an address");
        assert!(listen(&file, &url("nats-leaf://10.0.0.1")).is_err(), "there is no installation");
        fs::write(&file, NO_LEAF_NODES).expect("it is written");
        assert!(listen(&file, &url("nats-leaf://shop.example.com:7000")).expect("it is written"));
        let text = fs::read_to_string(&file).expect("it is there");
        assert_eq!(text, "leafnodes {\n  listen: \"0.0.0.0:7000\"\n}\n");
        assert!(!listen(&file, &url("nats-leaf://10.0.0.1")).expect("it stays"));
        assert_eq!(fs::read_to_string(&file).expect("it is there"), text);
        fs::write(&file, NO_LEAF_NODES).expect("it is written");
        assert!(listen(&file, &url("tls://10.0.0.1")).expect("it is written"));
        let text = fs::read_to_string(&file).expect("it is there");
        assert_eq!(text, "leafnodes {\n  listen: \"10.0.0.1:7422\"\n}\n");
    }
}
