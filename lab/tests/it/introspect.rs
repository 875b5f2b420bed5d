//! The introspect ports of programs.

use std::time::Duration;

use contrail_lab::{Fault, Introspect, Lab, State};

use crate::client::{ANALYTICS, COLLECTOR, Client, SOCKET, eventually, hangs, one};

const GET: &str = "GET /Snh_SandeshUVECacheReq?x=NodeStatus HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PORT: u16 = 8089;

/// A lab whose collector gives this reply.
async fn with(answer: Introspect) -> (Lab, Client) {
    let lab = one(|n| n.introspect(COLLECTOR, PORT, answer)).await;
    let client = Client::root(&lab, "n").await;
    (lab, client)
}

/// The complete reply of the port.
async fn get(client: &Client, port: u16) -> String {
    let mut page = client.tcp(port).await.unwrap();
    page.send(GET).await;
    page.rest().await
}

async fn refused(client: &Client, port: u16) -> bool {
    client.tcp(port).await.is_err()
}

fn state(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<state type=\"string\" identifier=\"3\">")?;
    rest.split_once('<').map(|(state, _)| state)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_what_it_says() {
    let (lab, client) = with(Introspect::Functional).await;
    let node = lab.node("n").unwrap();
    let text = get(&client, PORT).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert_eq!(state(&text), Some("Functional"));
    assert!(text.contains("<module_id type=\"string\" identifier=\"1\">contrail-collector</module_id>"), "{text}");
    assert!(text.contains(">Up</status>") && text.ends_with("</__NodeStatusUVE_list>"), "{text}");
    let mut page = client.tcp(PORT).await.unwrap();
    page.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(page.rest().await.starts_with("HTTP/1.1 404 "));

    node.set_introspect(COLLECTOR, PORT, Introspect::NonFunctional("Database:n:<Global> connection down".into()));
    let text = get(&client, PORT).await;
    assert_eq!(state(&text), Some("Non-Functional"));
    assert!(text.contains(">Database:n:&lt;Global> connection down</description>"), "{text}");

    node.set_introspect(COLLECTOR, PORT, Introspect::ServerError);
    assert!(get(&client, PORT).await.starts_with("HTTP/1.1 500 "));
    node.set_introspect(COLLECTOR, PORT, Introspect::Garbage);
    let text = get(&client, PORT).await;
    assert!(!text.is_empty() && !text.contains("HTTP/"), "{text}");
    node.set_introspect(COLLECTOR, PORT, Introspect::GarbageXml);
    let text = get(&client, PORT).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && state(&text).is_none(), "{text}");
    node.set_introspect(COLLECTOR, PORT, Introspect::Silent);
    hangs(200, get(&client, PORT)).await;
    node.set_introspect(COLLECTOR, PORT, Introspect::Refused);
    assert!(refused(&client, PORT).await);
    // The last port that was set counts.
    node.set_introspect(COLLECTOR, 9999, Introspect::Functional);
    assert!(refused(&client, PORT).await);
    assert_eq!(state(&get(&client, 9999).await), Some("Functional"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_where_the_node_is_mute_or_the_program_is_down() {
    let lab = one(|n| n.mute()).await;
    let client = Client::root(&lab, "n").await;
    assert!(refused(&client, PORT).await && refused(&client, 8091).await);

    let lab = one(|n| n.introspect(COLLECTOR, PORT, Introspect::NonFunctional("x".into()))).await;
    let client = Client::root(&lab, "n").await;
    assert_eq!(state(&get(&client, PORT).await), Some("Non-Functional"));
    assert_eq!(state(&get(&client, 8091).await), Some("Functional"));
    client.run(&format!("supervisorctl -s unix://{SOCKET} stop {COLLECTOR}")).await;
    assert!(refused(&client, PORT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_can_need_a_time_after_each_start() {
    let (lab, client) = with(Introspect::FunctionalAfter(Duration::from_millis(1500))).await;
    // The program has been up for days when the lab starts.
    assert_eq!(state(&get(&client, PORT).await), Some("Functional"));
    for _ in 0..2 {
        client.run(&format!("supervisorctl -s unix://{SOCKET} restart {COLLECTOR}")).await;
        assert_eq!(state(&get(&client, PORT).await), Some("Non-Functional"));
        tokio::time::sleep(Duration::from_millis(1600)).await;
        assert_eq!(state(&get(&client, PORT).await), Some("Functional"));
    }
    lab.node("n").unwrap().set_introspect(COLLECTOR, PORT, Introspect::Functional);
    assert!(lab.node("n").unwrap().kill(ANALYTICS, COLLECTOR));
    let running = || lab.node("n").unwrap().process(ANALYTICS, COLLECTOR).unwrap().state == State::Running;
    eventually("the program to start", running).await;
    assert_eq!(state(&get(&client, PORT).await), Some("Functional"));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbered_processes_have_a_port_each() {
    let lab = one(|mut n| {
        n.roles = vec![contrail_lab::Role::Config];
        n.api_workers = 2;
        n.introspect("contrail-api:0", 8084, Introspect::Functional).introspect(
            "contrail-api:1",
            8184,
            Introspect::NonFunctional("x".into()),
        )
    })
    .await;
    let client = Client::root(&lab, "n").await;
    assert_eq!(state(&get(&client, 8084).await), Some("Functional"));
    assert_eq!(state(&get(&client, 8184).await), Some("Non-Functional"));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_stand_over_what_was_set_and_open_the_usual_port() {
    let wrong =
        Fault::NonFunctional { program: COLLECTOR.into(), description: "Database:n:Global connection down".into() };
    let lab = one(|n| n.mute().fault(wrong.clone())).await;
    let node = lab.node("n").unwrap();
    let client = Client::root(&lab, "n").await;
    let text = get(&client, PORT).await;
    assert!(state(&text) == Some("Non-Functional") && text.contains("Global connection down"), "{text}");
    node.clear_fault();
    assert!(refused(&client, PORT).await);
    node.set_introspect(COLLECTOR, PORT, Introspect::Functional);
    node.set_fault(wrong);
    assert_eq!(state(&get(&client, PORT).await), Some("Non-Functional"));
    node.clear_fault();
    assert_eq!(state(&get(&client, PORT).await), Some("Functional"));
    node.set_fault(Fault::IntrospectHang(COLLECTOR.into()));
    hangs(200, get(&client, PORT)).await;
    node.clear_fault();
    node.set_fault(Fault::IntrospectClosed(COLLECTOR.into()));
    assert!(refused(&client, PORT).await);
}
