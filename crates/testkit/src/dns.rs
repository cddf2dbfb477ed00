//! A name server whose answers a test changes.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// The most bytes of a query over UDP.
const MAX_QUERY_BYTES: usize = 1_232;
/// The length of a message's header.
const HEADER_BYTES: usize = 12;
/// The types of a question: an address of IPv4, one of IPv6.
const TYPES: [u16; 2] = [1, 28];
/// What the flags of a response say: it is one, recursion was wanted and is available.
const RESPONSE: u16 = 0x8180;
/// The code of a response: there is no such name.
const NO_SUCH_NAME: u16 = 3;

/// A name server on a loopback address, for one test. It knows no name until it is given one, and
/// every answer is valid for no time at all.
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Zone {
    names: HashMap<String, Vec<IpAddr>>,
    hanging: Vec<String>,
    queries: HashMap<String, usize>,
}

impl DnsServer {
    /// Starts one.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let zone = Arc::new(Mutex::new(Zone::default()));
        let serving = tokio::spawn(serve(socket, Arc::clone(&zone)));
        Self { address, zone, serving }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers a name with these addresses from now on.
    pub fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|it| it.parse().expect("an address")).collect();
        self.zone().names.insert(name.to_owned(), addresses);
    }

    /// Never answers questions for a name from now on.
    pub fn hang(&self, name: &str) {
        self.zone().hanging.push(name.to_owned());
    }

    /// How often it was asked for a name; each look-up asks twice, for IPv4 and for IPv6.
    pub fn queries(&self, name: &str) -> usize {
        self.zone().queries.get(name).copied().unwrap_or(0)
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        lock(&self.zone)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; MAX_QUERY_BYTES];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let answer = answer(&buffer[..length], &mut lock(&zone));
        if let Some(answer) = answer {
            // Who asked may be gone.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The response to a query with one question; nothing if there is to be none.
fn answer(query: &[u8], zone: &mut Zone) -> Option<Vec<u8>> {
    let (name, end) = read_name(query)?;
    let question = query.get(HEADER_BYTES..end + 4)?;
    let kind = u16::from_be_bytes([query[end], query[end + 1]]);
    *zone.queries.entry(name.clone()).or_default() += 1;
    if zone.hanging.contains(&name) {
        return None;
    }
    let known = zone.names.get(&name);
    let addresses =
        known.into_iter().flatten().filter(|it| TYPES[usize::from(it.is_ipv6())] == kind);
    let records: Vec<_> = addresses.map(|address| record(*address, kind)).collect();

    let flags = if known.is_some() { RESPONSE } else { RESPONSE | NO_SUCH_NAME };
    let mut answer = query[..2].to_vec();
    for field in [flags, 1, records.len() as u16, 0, 0] {
        answer.extend(field.to_be_bytes());
    }
    answer.extend(question);
    answer.extend(records.concat());
    Some(answer)
}

/// A resource record for the name of the question.
fn record(address: IpAddr, kind: u16) -> Vec<u8> {
    let data = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    // The name is at offset 12; the class is IN; it is valid for 0 seconds.
    let fields = [0xc00c, kind, 1, 0, 0, data.len() as u16];
    fields.into_iter().flat_map(u16::to_be_bytes).chain(data).collect()
}

/// The name in the question, in lower case without a full stop at its end, and where it ends.
fn read_name(query: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
}
