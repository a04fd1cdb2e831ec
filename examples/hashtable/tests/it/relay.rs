//! A stretch of network between a client and a server, with a will of its own.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

/// What happens to the first message behind the handshake.
#[derive(Clone, Copy)]
pub(crate) enum Mishap {
    /// The request never arrives, and the connection stays open.
    RequestVanishes,
    /// The request arrives, and the connection breaks before the answer comes back.
    AnswerIsLost,
}

/// Listens in front of `server` for one connection; gives the endpoint to dial.
pub(crate) fn start(server: SocketAddr, mishap: Mishap) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        relay(client, TcpStream::connect(server).unwrap(), mishap);
    });
    endpoint
}

/// Listens in front of `server` for any number of connections, and breaks each of them once the
/// server has said `budget` bytes over it.
pub(crate) fn start_breaking(server: SocketAddr, budget: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            splice(client.unwrap(), TcpStream::connect(server).unwrap(), budget);
        }
    });
    endpoint
}

fn splice(client: TcpStream, server: TcpStream, budget: u64) {
    let (mut requests, mut upstream) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    // A broken connection is what this is for.
    thread::spawn(move || io::copy(&mut requests, &mut upstream));
    thread::spawn(move || {
        let _ = io::copy(&mut (&server).take(budget), &mut &client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// Listens in front of `server`, and breaks the first connection between the request and its answer.
pub(crate) fn start_breaking_once(server: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        relay(client, TcpStream::connect(server).unwrap(), Mishap::AnswerIsLost);
        let (client, _) = listener.accept().unwrap();
        splice(client, TcpStream::connect(server).unwrap(), u64::MAX);
    });
    endpoint
}

/// Listens in front of `server` for datagrams. Of those in either direction it loses three in ten,
/// and sends one in ten twice; `seed` says which.
pub(crate) fn start_lossy(server: SocketAddr, seed: u64) -> String {
    println!("lossy relay: seed {seed}");
    let near = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let endpoint = format!("udp://{}", near.local_addr().unwrap());
    let fate = Arc::new(Mutex::new(Fate(seed)));
    thread::spawn(move || {
        let mut far_sides: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut datagram = [0; 65_536];
        loop {
            let (length, client) = near.recv_from(&mut datagram).unwrap();
            let far = far_sides.entry(client).or_insert_with(|| {
                let far = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
                far.connect(server).unwrap();
                let (back, near, fate) = (Arc::clone(&far), Arc::clone(&near), Arc::clone(&fate));
                thread::spawn(move || {
                    let mut datagram = [0; 65_536];
                    // A server that is gone shows as an error, until it is back.
                    loop {
                        let Ok(length) = back.recv(&mut datagram) else { continue };
                        for _ in 0..fate.lock().unwrap().copies() {
                            let _ = near.send_to(&datagram[..length], client);
                        }
                    }
                });
                far
            });
            for _ in 0..fate.lock().unwrap().copies() {
                let _ = far.send(&datagram[..length]);
            }
        }
    });
    endpoint
}

/// What becomes of one datagram after the other.
struct Fate(u64);

impl Fate {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn copies(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        match (mixed ^ (mixed >> 31)) % 10 {
            0..3 => 0,
            3 => 2,
            _ => 1,
        }
    }
}

/// Client and server take turns: INIT, RESP, FIN, the server's first record, the request, the
/// answer. Each turn but RESP is a single write, short enough to arrive as one.
fn relay(mut client: TcpStream, mut server: TcpStream, mishap: Mishap) {
    pass(&mut client, &mut server);
    pass_resp(&mut server, &mut client);
    pass(&mut client, &mut server);
    pass(&mut server, &mut client);
    match mishap {
        Mishap::RequestVanishes => {
            // Until the client gives up.
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest);
        }
        Mishap::AnswerIsLost => {
            pass(&mut client, &mut server);
            let _ = server.read(&mut [0; 4096]);
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

/// RESP may come in two parts. Its clear bytes say how long its box is, which a tag follows.
fn pass_resp(server: &mut TcpStream, client: &mut TcpStream) {
    let mut resp = vec![0; 56];
    server.read_exact(&mut resp).unwrap();
    let boxed = usize::from(u16::from_be_bytes([resp[4], resp[5]])) + 16;
    resp.resize(56 + boxed, 0);
    server.read_exact(&mut resp[56..]).unwrap();
    client.write_all(&resp).unwrap();
}

fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let mut bytes = [0; 4096];
    let count = from.read(&mut bytes).unwrap();
    to.write_all(&bytes[..count]).unwrap();
}
