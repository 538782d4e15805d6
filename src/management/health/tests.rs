use super::*;
use crate::config::compile::compile;
use crate::config::parse;
use crate::ids::MacAddr;
use crate::management::events::EventKind;
use std::collections::HashSet;
use std::time::Duration;

/// A gateway with so many forwards, each with a hundred backends of its own.
fn snapshot(forwards: u32) -> Snapshot {
    let mut text = String::from(
        "[interface.lan]\ndevice = \"vdev:mem0\"\nrealm = \"internal\"\naddress = \"10.0.0.1/8\"\n\
         [interface.wan]\ndevice = \"vdev:mem1\"\nrealm = \"external\"\naddress = \"203.0.113.2/24\"\n",
    );
    for forward in 0..forwards {
        let backends: Vec<String> = (1..=100).map(|last| format!("\"10.1.{forward}.{last}:80\"")).collect();
        let (port, to) = (1000 + forward, backends.join(", "));
        text += &format!(
            "[[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = {port}\nto = [{to}]\nhealth = {{}}\n"
        );
    }
    compile(&parse(&text, "test").unwrap().config, &[MacAddr::default(); 2], 7, 1)
}

#[test]
fn very_many_backends_are_asked_one_after_the_other_and_said_in_a_few_words_when_all_are_gone() {
    let snapshot = snapshot(40);
    let mut now = Time::from_secs(1000);
    let (mut health, mut said) = (Health::default(), Vec::new());
    health.adopt(&snapshot, now, &mut said);
    assert_eq!(health.backends.len(), 4000);
    let (mut asked, mut most) = (HashSet::new(), 0);
    let end = now + Duration::from_secs(8);
    while now < end {
        let mut post = Vec::new();
        health.poll(&snapshot, now, &mut post, &mut said);
        most = most.max(post.len());
        asked.extend(post.iter().filter_map(|message| match message {
            ToWorker::Ask { question, .. } => Some(question.tuple.dst),
            _ => None,
        }));
        now = now + Duration::from_millis(2);
    }
    assert_eq!(asked.len(), 4000);
    // Six thousand questions a second, repeated ones and all.
    assert!(most <= 16, "{most} at once");
    assert!(health.backends.iter().all(|asked| !asked.vitals.up));
    let of = |kind| said.iter().filter(|event| event.kind == kind).count();
    assert!(of(EventKind::BackendDown) < 80, "{}", of(EventKind::BackendDown));
    assert_eq!(of(EventKind::ServiceDown), 40);
    assert!(
        snapshot
            .local
            .forwards()
            .iter()
            .all(|forward| forward.targets.choose([192, 0, 2, 1].into(), 1).is_none())
    );
}
