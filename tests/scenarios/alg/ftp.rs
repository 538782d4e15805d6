//! FTP: endpoints in commands and replies, the sessions that come for them, and sequence numbers ever after.

use super::dialogue::{CLIENT, Dialogue, End, Piece, SERVER, commas, end, pass};
use super::{ftp_home, ftp_server};
use crate::harness::{Net, SHAPES};
use crate::shape::by_host;
use crate::translation::HOME;
use std::time::Duration;

const CLIENT_INSIDE: &str = "192.168.1.10:40000";
const SERVER_OUTSIDE: &str = "198.51.100.1:21";

fn count(net: &Net, what: &str) -> i64 {
    net.totals().get(&format!("alg {what}")).copied().unwrap_or(0)
}

fn dropped(net: &Net, reason: &str) -> i64 {
    net.totals().get(&format!("drop {reason}")).copied().unwrap_or(0)
}

/// A SYN to an endpoint; where it comes out, if it does.
fn knock(net: &mut Net, wire: &str, (from, to): (&str, End), other: &str) -> Option<(End, End)> {
    let syn = Piece { from: end(from), to, flags: "S", seq: 1, ack: 0, text: String::new(), sack: None };
    let out = pass(net, wire, &syn.encode(), other);
    out.first().map(|packet| Piece::decode(packet)).map(|piece| (piece.from, piece.to))
}

fn home_dialogue(net: &mut Net) -> Dialogue {
    let mut control = Dialogue::open(net, ("lan", CLIENT_INSIDE), SERVER_OUTSIDE, "wan");
    assert_eq!(control.say(net, SERVER, "220 ready\r\n"), "220 ready\r\n");
    assert_eq!(control.say(net, CLIENT, "USER x\r\n"), "USER x\r\n");
    control
}

/// The endpoint in `PORT h1,h2,h3,h4,p1,p2` or `227 … (h1,…)`.
fn named(text: &str) -> End {
    let digits = text.strip_prefix("227").unwrap_or(text).trim_matches(|c: char| !c.is_ascii_digit());
    let parts: Vec<u16> = digits.split(',').map(|part| part.parse().unwrap()).collect();
    let [a, b, c, d, high, low] = parts[..] else { panic!("{text}") };
    let address = [a, b, c, d].map(|part| part as u8);
    (address.into(), high << 8 | low)
}

#[test]
fn an_active_client_inside_gets_its_data_connection_and_both_ends_keep_their_numbers() {
    for shape in by_host() {
        let mut net = Net::new(&ftp_home(""), shape);
        let mut control = home_dialogue(&mut net);
        for (turn, port) in [(1, 50_000), (2, 50_001), (3, 1024), (4, 50_003), (5, 50_004), (6, 50_005)] {
            let own = (control.client.own.0, port);
            let heard = control.say(&mut net, CLIENT, &format!("PORT {}\r\n", commas(own)));
            let outside = named(&heard);
            assert_eq!(heard, format!("PORT {}\r\n", commas(outside)));
            assert_eq!(outside.0, control.server.peer.0, "the address of the control connection");
            control.say(&mut net, SERVER, "200 ok\r\n");
            control.say(&mut net, CLIENT, "RETR some file\r\n");
            assert_eq!(count(&net, "opened"), turn);
            let arrives = knock(&mut net, "wan", ("198.51.100.1:20", outside), "lan");
            assert_eq!(arrives, Some((end("198.51.100.1:20"), own)));
            assert_eq!(count(&net, "used"), turn);
        }
        assert_eq!(count(&net, "rewritten"), 6);
        net.finish();
    }
}

#[test]
fn eprt_is_rewritten_as_well() {
    for shape in by_host() {
        let mut net = Net::new(&ftp_home(""), shape);
        let mut control = home_dialogue(&mut net);
        let heard = control.say(&mut net, CLIENT, "EPRT |1|192.168.1.10|50000|\r\n");
        let parts: Vec<&str> = heard.trim_end().split('|').collect();
        assert_eq!((parts[0], parts[1], parts[2]), ("EPRT ", "1", "203.0.113.2"));
        let outside = (control.server.peer.0, parts[3].parse().unwrap());
        control.say(&mut net, SERVER, "200 ok\r\n");
        let arrives = knock(&mut net, "wan", ("198.51.100.1:4711", outside), "lan");
        assert_eq!(arrives.map(|(_, to)| to), Some(end("192.168.1.10:50000")), "from any port of the server");
        net.finish();
    }
}

#[test]
fn without_the_gateway_for_ftp_payload_passes_byte_for_byte() {
    for shape in SHAPES {
        let mut net = Net::new(HOME, shape);
        let mut control = home_dialogue(&mut net);
        for line in ["PORT 192,168,1,10,195,80\r\n", "EPRT |1|192.168.1.10|50000|\r\n"] {
            assert_eq!(control.say(&mut net, CLIENT, line), line);
        }
        net.finish();
    }
}

#[test]
fn only_the_server_may_come_and_only_once_and_only_for_a_while() {
    for shape in by_host() {
        for filtering in ["address-dependent", "address-and-port-dependent"] {
            let more = format!("[masquerade]\nfiltering = '{filtering}'");
            let mut net = Net::new(&ftp_home(&more), shape);
            let mut control = home_dialogue(&mut net);
            let mut outside = |net: &mut Net, port: u16| {
                named(&control.say(
                    net,
                    CLIENT,
                    &format!("PORT {}\r\n", commas((end(CLIENT_INSIDE).0, port))),
                ))
            };
            let first = outside(&mut net, 50_000);
            assert_eq!(knock(&mut net, "wan", ("198.51.100.9:20", first), "lan"), None, "a stranger");
            assert_eq!(dropped(&net, "filtered"), 1);
            assert!(knock(&mut net, "wan", ("198.51.100.1:20", first), "lan").is_some());
            assert_eq!(knock(&mut net, "wan", ("198.51.100.1:22", first), "lan"), None, "{filtering}: twice");
            let second = outside(&mut net, 50_002);
            net.wait(Duration::from_secs(31));
            assert_eq!(count(&net, "expired"), 1);
            // What the stranger was told, late.
            net.seen.clear();
            assert_eq!(knock(&mut net, "wan", ("198.51.100.1:20", second), "lan"), None, "too late");
            net.finish();
        }
    }
}

#[test]
fn nothing_is_opened_for_another_host_or_for_a_service() {
    for shape in by_host() {
        let mut net = Net::new(&ftp_home(""), shape);
        let mut control = home_dialogue(&mut net);
        for (n, line) in
            ["PORT 192,168,1,11,195,80\r\n", "PORT 192,168,1,10,0,22\r\n", "EPRT |1|198.51.100.7|5000|\r\n"]
                .iter()
                .enumerate()
        {
            assert_eq!(control.say(&mut net, CLIENT, line), *line);
            assert_eq!(count(&net, "refused_foreign"), n as i64 + 1);
        }
        assert_eq!((count(&net, "opened"), count(&net, "rewritten")), (0, 0));
        net.finish();
    }
}

#[test]
fn lines_that_are_not_whole_and_clients_that_do_not_speak_ftp_are_let_alone() {
    for shape in by_host() {
        let mut net = Net::new(&ftp_home(""), shape);
        let mut control = home_dialogue(&mut net);
        for half in ["PORT 192,168,1,", "10,195,80\r\n"] {
            assert_eq!(control.say(&mut net, CLIENT, half), half);
        }
        assert_eq!((count(&net, "unreadable"), count(&net, "opened")), (1, 0));
        let form = "POST / HTTP/1.1\r\nHost: x\r\n\r\nPORT 192,168,1,10,195,80\r\n";
        assert_eq!(control.say(&mut net, CLIENT, form), form);
        let line = "PORT 192,168,1,10,195,80\r\n";
        assert_eq!(control.say(&mut net, CLIENT, line), line);
        assert_eq!((count(&net, "not_ftp"), count(&net, "opened")), (1, 0));
        net.finish();
    }
}

#[test]
fn no_more_are_expected_than_the_bound_and_what_is_refused_passes_as_it_is() {
    for shape in by_host() {
        // A share of one for each worker.
        let mut net = Net::new(
            &ftp_home("[alg]\nmax_expectations = 1").replace("[alg.ftp]\n[alg]\n", "[alg]\nftp = {}\n"),
            shape,
        );
        let mut control = home_dialogue(&mut net);
        let line = |port: u16| format!("PORT {}\r\n", commas((end(CLIENT_INSIDE).0, port)));
        let first = named(&control.say(&mut net, CLIENT, &line(50_000)));
        assert_eq!(control.say(&mut net, CLIENT, &line(50_001)), line(50_001));
        assert_eq!((count(&net, "opened"), count(&net, "refused_full")), (1, 1));
        // The same again is no other one.
        assert_eq!(named(&control.say(&mut net, CLIENT, &line(50_000))), first);
        assert!(knock(&mut net, "wan", ("198.51.100.1:20", first), "lan").is_some());
        named(&control.say(&mut net, CLIENT, &line(50_002)));
        net.finish();
    }
}

#[test]
fn what_is_sent_again_is_rewritten_again_and_acknowledgements_mean_what_they_say() {
    for shape in by_host() {
        let mut net = Net::new(&ftp_home(""), shape);
        let mut control = home_dialogue(&mut net);
        let command = control.piece(CLIENT, "PORT 192,168,1,10,195,80\r\n");
        let once = control.deliver(&mut net, CLIENT, &command);
        // Lost behind the gateway; then together with what follows, then in halves.
        assert_eq!(control.deliver(&mut net, CLIENT, &command), once);
        let both = Piece { text: format!("{}NOOP\r\n", command.text), ..command.clone() };
        let got = control.deliver(&mut net, CLIENT, &both);
        assert_eq!((got.seq, got.text.as_str()), (once.seq, format!("{}NOOP\r\n", once.text).as_str()));
        let mut heard = String::new();
        for (from, to) in [(0, 9), (9, 20), (20, both.text.len())] {
            let seq = both.seq.wrapping_add(from as u32);
            let piece = Piece { seq, text: both.text[from..to].into(), ..both.clone() };
            let got = control.deliver(&mut net, CLIENT, &piece);
            assert_eq!(got.seq, once.seq.wrapping_add(heard.len() as u32));
            heard += &got.text;
        }
        assert_eq!(heard, got.text);
        control.take(CLIENT, &both, &got);
        // The server has all of the first line and nothing of the next.
        let mut ack = control.piece(SERVER, "");
        ack.ack = once.seq.wrapping_add(once.text.len() as u32);
        assert_eq!(
            control.deliver(&mut net, SERVER, &ack).ack,
            command.seq.wrapping_add(command.text.len() as u32)
        );
        control.acknowledge(&mut net, SERVER);
        assert_eq!(count(&net, "opened"), 1);
        net.finish();
    }
}

#[test]
fn a_passive_server_inside_is_found_by_what_the_forwards_address_is_outside() {
    for shape in by_host() {
        let mut net = Net::new(&ftp_server(""), shape);
        for (turn, client) in [(1u16, "198.51.100.7"), (2, "198.51.100.8"), (3, "198.51.100.9")] {
            let opener = format!("{client}:50000");
            let mut control = Dialogue::open(&mut net, ("wan", &opener), "203.0.113.2:21", "lan");
            control.say(&mut net, CLIENT, "PASV\r\n");
            let own = (control.server.own.0, 40_000 + turn);
            let heard =
                control.say(&mut net, SERVER, &format!("227 Entering Passive Mode ({}).\r\n", commas(own)));
            let outside = named(&heard);
            assert_eq!(outside.0, control.client.peer.0);
            let from = format!("{client}:50001");
            assert_eq!(knock(&mut net, "wan", (&from, outside), "lan"), Some((end(&from), own)));
            // The answer comes back by the same way.
            let answer = Piece {
                from: own,
                to: end(&from),
                flags: "SA",
                seq: 9,
                ack: 2,
                text: String::new(),
                sack: None,
            };
            let [got] = &pass(&mut net, "lan", &answer.encode(), "wan")[..] else { panic!("no answer") };
            assert_eq!(Piece::decode(got).from, outside);
            control.say(&mut net, CLIENT, "EPSV\r\n");
            let heard = control.say(&mut net, SERVER, "229 Extended (|||40000|)\r\n");
            let port = heard.split('|').nth(3).unwrap().parse().unwrap();
            let from = format!("{client}:50002");
            let arrives = knock(&mut net, "wan", (&from, (outside.0, port)), "lan");
            assert_eq!(arrives, Some((end(&from), (own.0, 40_000))));
            assert_eq!(count(&net, "used"), i64::from(turn) * 2);
            control.say(&mut net, CLIENT, "QUIT\r\n");
        }
        net.finish();
    }
}

#[test]
fn a_passive_server_with_a_static_address_keeps_its_port() {
    let config =
        format!("{HOME}\n[[static]]\nexternal = '203.0.113.96'\ninternal = '192.168.1.64'\n[alg.ftp]\n");
    for shape in SHAPES {
        let mut net = Net::new(&config, shape);
        let mut control = Dialogue::open(&mut net, ("wan", "198.51.100.7:50000"), "203.0.113.96:21", "lan");
        let heard = control.say(&mut net, SERVER, "227 Passive (192,168,1,64,195,80)\r\n");
        assert_eq!(heard, "227 Passive (203,0,113,96,195,80)\r\n");
        let line = "229 Extended (|||50000|)\r\n";
        assert_eq!(control.say(&mut net, SERVER, line), line);
        control.say(&mut net, CLIENT, "NOOP\r\n");
        assert_eq!((count(&net, "opened"), count(&net, "rewritten")), (0, 1));
        net.finish();
    }
}

#[test]
fn a_server_that_knows_its_outside_form_and_a_port_that_is_forwarded_need_no_mapping() {
    let more = "[[dnat]]\non = 'wan'\nprotocol = 'tcp'\nport = '50000-50010'\nto = '192.168.1.10:40000'";
    for shape in by_host() {
        let mut net = Net::new(&ftp_server(more), shape);
        let mut control = Dialogue::open(&mut net, ("wan", "198.51.100.7:50000"), "203.0.113.2:21", "lan");
        let line = "227 Passive (203,0,113,2,195,80)\r\n";
        assert_eq!(control.say(&mut net, SERVER, line), line);
        let heard = control.say(&mut net, SERVER, "227 Passive (192,168,1,10,156,65)\r\n");
        assert_eq!(heard, format!("227 Passive ({})\r\n", commas(end("203.0.113.2:50001"))));
        assert_eq!(count(&net, "opened"), 0);
        net.finish();
    }
}

#[test]
fn addresses_that_give_nobody_a_port_of_his_own_are_counted_and_left_alone() {
    let more =
        "[masquerade]\nmapping = 'address-and-port-dependent'\nfiltering = 'address-and-port-dependent'";
    for shape in SHAPES {
        let mut net = Net::new(&ftp_home(more), shape);
        let mut control = home_dialogue(&mut net);
        let line = "PORT 192,168,1,10,195,80\r\n";
        assert_eq!(control.say(&mut net, CLIENT, line), line);
        assert_eq!(count(&net, "refused_unmapped"), 1);
        net.finish();
    }
}

#[test]
fn sessions_keep_their_numbers_when_the_gateway_for_ftp_is_taken_away() {
    for shape in by_host() {
        let mut net = Net::new(&ftp_home(""), shape);
        let mut control = home_dialogue(&mut net);
        control.say(&mut net, CLIENT, "PORT 192,168,1,10,195,80\r\n");
        net.reload(HOME);
        net.run();
        let line = "NOOP\r\n";
        assert_eq!(control.say(&mut net, CLIENT, line), line);
        net.reload(&ftp_home(""));
        net.run();
        control.say(&mut net, SERVER, "200 ok\r\n");
        net.finish();
    }
}

#[test]
fn a_line_that_grows_beyond_the_next_link_is_cut_or_its_sender_told_what_fits() {
    for shape in by_host() {
        let mut net = Net::new(&ftp_home("").replace("192.168.1.1/24", "10.0.0.1/24"), shape);
        let mut control = Dialogue::open(&mut net, ("lan", "10.0.0.9:40000"), SERVER_OUTSIDE, "wan");
        control.say(&mut net, SERVER, "220 ready\r\n");
        // Exactly the MTU, and three bytes longer outside, or up to seven if the port is another one.
        let line = "PORT 10,0,0,9,4,1\r\n";
        let tail = format!("NOOP {}\r\n", "x".repeat(1500 - 40 - line.len() - 7));
        let piece = control.piece(CLIENT, &format!("{line}{tail}"));
        let mut packet = piece.encode();
        assert_eq!((packet.len(), packet[6] & 0x40), (1500, 0x40), "etherparse sets DF");
        let [error] = &pass(&mut net, "lan", &packet, "lan")[..] else { panic!("no error") };
        assert_eq!(error[20..22], [3, 4]);
        let mtu = u16::from_be_bytes([error[26], error[27]]);
        assert!((1493..=1497).contains(&mtu), "{mtu}");
        assert_eq!(dropped(&net, "fragmentation_needed"), 1);
        packet[6] &= !0x40;
        let mut header = etherparse::Ipv4Header::from_slice(&packet).unwrap().0;
        header.header_checksum = header.calc_header_checksum();
        packet[..20].copy_from_slice(&header.to_bytes());
        let pieces = pass(&mut net, "lan", &packet, "wan");
        assert_eq!(pieces.len(), 2);
        let len: usize = pieces.iter().map(|piece| piece.len() - 20).sum();
        assert_eq!(len, 1480 + usize::from(1500 - mtu));
        net.finish();
    }
}

#[test]
fn a_client_inside_and_a_forwarded_server_inside_reach_each_other_either_way() {
    for shape in by_host() {
        for filtering in ["address-dependent", "address-and-port-dependent"] {
            let mut net = Net::new(&ftp_server(&format!("[masquerade]\nfiltering = '{filtering}'")), shape);
            let mut control =
                Dialogue::open(&mut net, ("lan", "192.168.1.20:40000"), "203.0.113.2:21", "lan");
            let own = (control.server.own.0, 50_000);
            let heard = control.say(&mut net, SERVER, &format!("227 Passive ({})\r\n", commas(own)));
            let outside = named(&heard);
            assert_eq!(outside.0, control.client.peer.0);
            let arrives = knock(&mut net, "lan", ("192.168.1.20:40001", outside), "lan");
            assert_eq!(arrives.map(|(from, to)| (from.0, to)), Some((outside.0, own)), "{filtering}");
            let own = (control.client.own.0, 50_001);
            let outside = named(&control.say(&mut net, CLIENT, &format!("PORT {}\r\n", commas(own))));
            let arrives = knock(&mut net, "lan", ("192.168.1.10:20", outside), "lan");
            assert_eq!(arrives.map(|(from, to)| (from.0, to)), Some((outside.0, own)), "{filtering}");
            assert_eq!(count(&net, "used"), 2);
            net.finish();
        }
    }
}
