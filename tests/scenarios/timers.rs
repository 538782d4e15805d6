//! The timers: what a worker posts to the wheel on the management core, and what becomes of what it could not post.

use crate::harness::{Net, RING, SHAPES, play};
use crate::packet::Line;
use crate::translation::HOME;
use std::time::Duration;

/// A minute or more without a post would only be made up for by the slow sweep.
fn short() -> String {
    format!(
        "{HOME}
        [conntrack.timeouts]
        tcp_syn_sent = \"3s\"
        tcp_close = \"2s\"
        "
    )
}

#[test]
fn a_reset_takes_a_connection_from_days_to_seconds() {
    play(
        &short(),
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=100
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=100
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p SA seq=500 ack=101
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA seq=500 ack=101
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=101 ack=501
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=101 ack=501
        wait 4000s
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p RA seq=501 ack=101
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 RA seq=501 ack=101
        wait 1900ms
        wait 300ms
        closed
        ",
    );
}

#[test]
fn a_connection_that_is_opened_again_has_the_timeout_of_a_new_one() {
    play(
        &short(),
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=100
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=100
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p SA seq=500 ack=101
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA seq=500 ack=101
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=101 ack=501
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=101 ack=501
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 AF seq=101 ack=501
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 AF seq=101 ack=501
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p AF seq=501 ack=102
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 AF seq=501 ack=102
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=102 ack=502
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=102 ack=502
        wait 10s
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=9000
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=9000
        wait 2900ms
        wait 300ms
        closed
        ",
    );
}

#[test]
fn sessions_whose_timers_could_not_be_posted_end_in_time_all_the_same() {
    for shape in SHAPES {
        // More than the rings of posts hold.
        let sessions = (shape.workers * RING + 1500) as u32;
        let config = HOME.replace("max_sessions = 600", "max_sessions = 30000");
        let mut net = Net::new(&config, shape);
        let lan = net.interface("lan");
        net.play("lan> udp 192.168.1.10:1 > 203.0.113.1:9\nwan< udp 203.0.113.2:$p > 203.0.113.1:9\nopened\nwait 400s\nclosed");
        for n in 0..sessions {
            let line = format!("udp 192.168.1.{}:{} > 198.51.100.1:53", 10 + n % 100, 2000 + n / 100);
            let packet = Line::parse(&line).encode(&net.bindings);
            net.send_ipv4(lan, &packet);
            if n < 100 {
                net.run();
            } else if n % 16 == 15 {
                // The management core is away, and nobody reads the rings of posts.
                for _ in 0..3 {
                    for worker in &mut net.workers {
                        worker.poll_once(net.now);
                    }
                }
                net.collect();
            }
        }
        let lost: u64 = net.counters.iter().map(|counters| counters.timer_posts_lost.get()).sum();
        assert!(lost > 1000, "{lost} lost by {shape:?}");
        net.run();
        let status = net.management.timer_status();
        assert_eq!(status.iter().map(|worker| worker.posts_lost).sum::<u64>(), lost);
        assert_eq!(net.session_count(), u64::from(sessions), "{shape:?}");
        net.wait(Duration::from_millis(600));
        let status = net.management.timer_status();
        assert_eq!(status.iter().map(|worker| worker.armed).sum::<u32>(), sessions, "all are known");
        net.wait(Duration::from_millis(299_400));
        assert_eq!(net.session_count(), u64::from(sessions), "not early");
        net.wait(Duration::from_millis(1100));
        assert_eq!(net.session_count(), 0, "{shape:?}");
        net.seen.clear();
        net.assert_balance("at the end");
        net.finish();
    }
}
