//! A stretch of network between a client and a server, with a will of its own.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
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
            let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let (mut requests, mut upstream) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            // A broken connection is what this is for.
            thread::spawn(move || io::copy(&mut requests, &mut upstream));
            thread::spawn(move || {
                let _ = io::copy(&mut (&server).take(budget), &mut &client);
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    endpoint
}

/// Client and server take turns: INIT, RESP, FIN, the server's first record, the request, the
/// answer. Each turn is a single write, short enough to arrive as one.
fn relay(mut client: TcpStream, mut server: TcpStream, mishap: Mishap) {
    for _ in 0..2 {
        pass(&mut client, &mut server);
        pass(&mut server, &mut client);
    }
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

fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let mut bytes = [0; 4096];
    let count = from.read(&mut bytes).unwrap();
    to.write_all(&bytes[..count]).unwrap();
}
