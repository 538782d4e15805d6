//! The TCP address that is for reading only, and the group that may open the UNIX socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::{Gateway, LONG};
use natgate::control::server::{Claim, Limits, Places, Server, ServerError};
use natgate::control::{Client, api};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn start(gateway: &Gateway, limits: Limits) -> (Server, SocketAddr) {
    let socket = gateway.socket();
    let claim = Claim::new(Places { read_only: Some(ANY), ..Places::private(&socket) }).unwrap();
    let server = Server::serve(claim, Arc::clone(&gateway.state), None, limits).unwrap();
    let address = server.read_only().unwrap();
    (server, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    write!(stream, "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn everything_that_only_reads_is_answered_over_tcp() {
    let gateway = Gateway::new(2);
    let (_server, address) = start(&gateway, Limits::default());
    for path in ["/metrics", "/v1/health", "/v1/status", "/v1/drops", "/v1/sessions", "/v1/sessions/top"] {
        let answer = ask(address, &format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    }
    assert!(ask(address, "GET /v1/nothing").starts_with("HTTP/1.1 404"));
}

#[test]
fn nothing_can_be_changed_over_tcp() {
    let gateway = Gateway::new(2);
    let (_server, address) = start(&gateway, Limits::default());
    for request in
        ["DELETE /v1/sessions?all=true", "POST /v1/reload", "PUT /v1/status", "PATCH /metrics", "CONNECT x:1"]
    {
        let answer = ask(address, request);
        assert!(answer.starts_with("HTTP/1.1 405"), "{request}: {answer}");
        assert!(answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
        assert!(answer.contains("this address is for reading only"), "{answer}");
    }
    let count: api::SessionCount = gateway.client().get_json("/v1/sessions/count").unwrap();
    assert_eq!(count.total.used, 5);
}

#[test]
fn those_who_read_over_tcp_do_not_take_the_places_of_the_operator() {
    let gateway = Gateway::new(0);
    let (_server, address) = start(&gateway, Limits { connections: 1, ..Limits::default() });
    let mut first = connect(address);
    first.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    first.read_exact(&mut [0; 15]).unwrap();
    let mut answer = Vec::new();
    let _ = connect(address).read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&answer));
    gateway.client().get_json::<api::Status>("/v1/status").unwrap();
}

#[test]
fn without_the_key_there_is_no_tcp_address() {
    let gateway = Gateway::new(0);
    assert_eq!(gateway.start().read_only(), None);
}

#[test]
fn an_address_that_can_not_be_had_is_named_with_the_cure_and_no_socket_stays() {
    let gateway = Gateway::new(0);
    let taken = TcpListener::bind(ANY).unwrap().local_addr();
    let other = TcpListener::bind(taken.unwrap()).unwrap();
    let socket = gateway.socket();
    let claim = |address| Claim::new(Places { read_only: Some(address), ..Places::private(&socket) });
    let address = other.local_addr().unwrap();
    let error = claim(address).unwrap_err();
    assert!(matches!(error, ServerError::Address { .. }));
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("choose another port"), "{text}");
    let text = claim("192.0.2.1:9469".parse().unwrap()).unwrap_err().to_string();
    assert!(text.contains("192.0.2.1:9469") && text.contains("are not the kernel's"), "{text}");
    assert!(!socket.exists());
}

#[test]
fn a_group_may_open_the_socket_if_the_config_names_it() {
    let gateway = Gateway::new(0);
    let socket = gateway.socket();
    let own = fs::metadata(gateway.directory.path()).unwrap().gid().to_string();
    let claim = Claim::new(Places { group: Some(&own), ..Places::private(&socket) }).unwrap();
    let metadata = fs::metadata(&socket).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
    assert_eq!(metadata.gid().to_string(), own);
    let _server = Server::serve(claim, Arc::clone(&gateway.state), None, Limits::default()).unwrap();
    Client::new(socket).get_json::<api::Status>("/v1/status").unwrap();
}

#[test]
fn a_group_that_is_not_there_is_named_and_no_socket_is_made() {
    let gateway = Gateway::new(0);
    let socket = gateway.socket();
    let group = Some("no-such-group-here");
    let text = Claim::new(Places { group, ..Places::private(&socket) }).unwrap_err().to_string();
    assert!(
        text.contains("\"no-such-group-here\"") && text.contains("groupadd --system no-such-group-here"),
        "{text}"
    );
    assert!(!socket.exists());
}
