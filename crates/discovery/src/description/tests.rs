//! Drafts of made-up hosts, and what an inventory makes of them.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{instance, unread};
use crate::observation::LookFailure;
use ctl_inventory::{Inventory, PathEnvironment, parse};

fn reread(text: &str) -> Inventory {
    let env = PathEnvironment::new(None, std::iter::empty::<(&str, &str)>());
    parse(text, Path::new("inventory.yaml"), &env).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn failure(message: &str) -> LookFailure {
    LookFailure { message: message.to_owned(), hint: Some(format!("fix {message}")) }
}

fn host(name: &str, outcome: HostOutcome) -> ObservedHost {
    ObservedHost { name: name.to_owned(), settings: DraftSettings::default(), outcome }
}

fn searched(name: &str, instances: Vec<ObservedInstance>) -> ObservedHost {
    host(name, HostOutcome::Searched(instances))
}

fn analytics() -> ObservedInstance {
    instance("/var/run/supervisord_analytics.sock", &["contrail-collector", "contrail-analytics-api"])
}

fn described(hosts: &[ObservedHost]) -> (Description, String) {
    let description = describe(hosts, DraftSettings::default(), Vec::new());
    let text = description.draft.to_yaml();
    (description, text)
}

#[test]
fn four_kinds_of_hosts() {
    let fleet = || ObservedInstance {
        identifier: Some("billing".to_owned()),
        unit: Some("supervisor".to_owned()),
        config_file: Some("/srv/b.conf".to_owned()),
        ..instance("/srv/run/b.sock", &["invoicer", "mailer"])
    };
    let web =
        ObservedInstance { username: Some("ops".to_owned()), ..instance("localhost:9001", &["web-api", "web-ui"]) };
    let (description, text) = described(&[
        searched("a1", vec![analytics()]),
        searched("a2", vec![analytics(), fleet()]),
        searched("b1", vec![fleet()]),
        searched("w1", vec![web]),
        searched("x1", Vec::new()),
        host("y1", HostOutcome::Unreachable(failure("connection refused"))),
        host("y2", HostOutcome::Unreachable(failure("connection refused"))),
        host("z1", HostOutcome::Failed(failure("sudo wants a password"))),
    ]);
    let wanted = r#"version: 1

roles:
  # found on a2,b1
  # its configuration is /srv/b.conf
  billing:
    supervisors:
      - name: supervisor
        socket: /srv/run/b.sock
        services: [invoicer, mailer]
  # found on w1
  # supervisord asks for a password: write it to web.password beside this inventory, and run chmod 600 web.password
  web:
    supervisors:
      - name: supervisor-web
        socket: "http://localhost:9001"
        services: [web-api, web-ui]
        username: ops
        password_file: web.password

nodes:
  a1: {roles: [analytics]}
  a2: {roles: [analytics, billing]}
  b1: {roles: [billing]}
  w1: {roles: [web]}

# Hosts that are not in this inventory:
#   x1: no supervisord found
#   y[1-2]: not reached: connection refused
#   z1: not searched: sudo wants a password
"#;
    assert_eq!(text, wanted);
    reread(&text);
    assert!(description.has_unreachable && description.has_failed);
    let problems: Vec<String> =
        description.problems.iter().map(|problem| format!("{}: {}", problem.hosts, problem.message)).collect();
    assert_eq!(
        problems,
        [
            "x1: no supervisord found",
            "y[1-2]: not reached: connection refused",
            "z1: not searched: sudo wants a password",
            // The first status would fail without it.
            "w1: supervisord asks for a password: write it to web.password beside this inventory, and run chmod 600 web.password",
        ]
    );
    let hints: Vec<String> = description.hints.iter().map(|hint| format!("{}: {}", hint.hosts, hint.message)).collect();
    assert_eq!(hints, ["y[1-2]: fix connection refused", "z1: fix sudo wants a password"]);
}

#[test]
fn a_supervisord_that_does_not_answer_is_in_the_inventory() {
    let silent = |address: &str| unread(address, UnreadCause::Silent, "no answer");
    let (description, text) = described(&[
        searched("a1", vec![silent("/var/run/supervisord_analytics.sock")]),
        searched("s1", vec![silent("/srv/s.sock")]),
    ]);
    let inventory = reread(&text);
    let roles = |name: &str| inventory.node(name).expect("a node").roles.clone();
    assert_eq!((roles("a1"), roles("s1")), (vec!["analytics".to_owned()], vec!["role1".to_owned()]));
    assert_eq!(inventory.roles["role1"].supervisors[0].addresses, [ControlAddress::Unix("/srv/s.sock".to_owned())]);
    assert_eq!(description.problems[0].hosts, "a1,s1");
}

#[test]
fn a_node_has_a_comment_about_what_could_not_be_read() {
    let (_, text) = described(&[
        // The old socket of an upgraded node is no problem.
        searched("a1", vec![analytics(), unread("/tmp/supervisord_analytics.sock", UnreadCause::Other, "left behind")]),
        searched(
            "a2",
            vec![
                analytics(),
                unread("/srv/x.sock", UnreadCause::Other, "x does not answer"),
                unread("/srv/y.sock", UnreadCause::Other, "x does not answer"),
            ],
        ),
        // What listens at the place of an instance is that instance, if it may not be opened.
        searched(
            "a3",
            vec![unread("/var/run/supervisord_analytics.sock", UnreadCause::Forbidden, "may not be opened")],
        ),
        searched("a4", vec![unread("/srv/y.sock", UnreadCause::Forbidden, "may not be opened")]),
    ]);
    let wanted = r#"version: 1

nodes:
  a1: {roles: [analytics]}
  # x does not answer
  a2: {roles: [analytics]}
  # may not be opened
  a3: {roles: [analytics]}

# Hosts that are not in this inventory:
#   a4: may not be opened
"#;
    assert_eq!(text, wanted);
    reread(&text);
}

#[test]
fn an_instance_that_not_every_release_has_makes_no_role() {
    let rabbit = || instance("/var/run/supervisord_support_service.sock", &["rabbitmq-server"]);
    let config = instance("/var/run/supervisord_config.sock", &["contrail-api"]);
    let (_, text) = described(&[searched("c1", vec![rabbit(), config]), searched("o1", vec![rabbit()])]);
    let inventory = reread(&text);
    let roles = |name: &str| inventory.node(name).expect("a node").roles.clone();
    assert_eq!((roles("c1"), roles("o1")), (vec!["config".to_owned()], vec!["rabbitmq-server".to_owned()]));
}

#[test]
fn an_instance_at_another_place_stays_in_its_role() {
    let elsewhere = instance("/srv/config.sock", &["contrail-api", "contrail-schema"]);
    let (_, text) = described(&[searched("c1", vec![elsewhere])]);
    let inventory = reread(&text);
    assert_eq!(inventory.node("c1").expect("a node").roles, ["config"]);
    let role = inventory.role("config").expect("a role");
    let addresses: Vec<String> = role.supervisors[0].addresses.iter().map(ToString::to_string).collect();
    assert!(addresses.contains(&"unix:///srv/config.sock".to_owned()) && addresses.len() == 4, "{addresses:?}");
    assert_eq!(role.supervisors[1].name, "supervisor-support-service");
    assert!(role.supervisors[1].optional);
}

#[test]
fn a_password_that_is_not_known_leaves_a_role_without_services() {
    let closed = ObservedInstance {
        username: Some("ops".to_owned()),
        ..unread("localhost:9001", UnreadCause::Password, "asks for a password")
    };
    let (_, text) = described(&[searched("w1", vec![closed])]);
    let inventory = reread(&text);
    let role = inventory.role("role1").expect("a role");
    assert_eq!((role.supervisors[0].username.as_deref(), role.supervisors[0].services.len()), (Some("ops"), 0));
    assert!(text.contains("  # asks for a password\n  w1: {roles: [role1]}"), "{text}");
}

#[test]
fn text_of_nodes_stays_in_its_place() {
    let strange = ObservedInstance {
        identifier: Some("x: {y}\n".to_owned()),
        config_file: Some("/a\u{1b}[2J # b".to_owned()),
        username: Some("o\"ps: }".to_owned()),
        ..instance("/srv/{a}: \"b.sock", &["ok", "a b", "{x: y}", "$HOME"])
    };
    let (_, text) = described(&[searched("w1", vec![strange])]);
    let inventory = reread(&text);
    let role = &inventory.roles["role1"];
    assert_eq!(role.supervisors[0].services, ["ok"]);
    assert_eq!(role.supervisors[0].addresses, [ControlAddress::Unix("/srv/{a}: \"b.sock".to_owned())]);
}

proptest! {
    /// Whatever hosts run, the file is valid, and each of them is a node or a comment.
    #[test]
    fn every_host_is_in_the_file(all in vec(vec((0..8_usize, vec("[a-c]{1,2}|contrail-api|contrail-collector|\\PC{1,4}", 0..3), 0..5_u8), 0..3), 1..6)) {
        const PLACES: [&str; 8] = [
            "/var/run/supervisord_analytics.sock", "/tmp/supervisord_analytics.sock", "/var/run/supervisord_config.sock",
            "/srv/a.sock", "/srv/b.sock", "localhost:9001", "localhost:9004", "localhost:9005",
        ];
        let mut hosts: Vec<ObservedHost> = all.iter().enumerate().map(|(index, instances)| {
            let seen = instances.iter().map(|(place, services, kind)| {
                let services: Vec<&str> = services.iter().map(String::as_str).collect();
                match kind {
                    0 => unread(PLACES[*place], UnreadCause::Forbidden, "forbidden"),
                    1 => unread(PLACES[*place], UnreadCause::Other, "other"),
                    2 => unread(PLACES[*place], UnreadCause::Silent, "silent"),
                    _ => instance(PLACES[*place], &services),
                }
            });
            searched(&format!("h{index}"), seen.collect())
        }).collect();
        hosts.push(searched("known", vec![analytics()]));
        let (description, text) = described(&hosts);
        let inventory = reread(&text);
        for host in &hosts {
            let is_said = description.problems.iter().any(|problem| NodeSet::parse(&problem.hosts).is_ok_and(|set| set.contains(&host.name)));
            prop_assert!(inventory.node(&host.name).is_some() || is_said, "{}\n{}", host.name, text);
        }
    }
}
