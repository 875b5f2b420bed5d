//! supervisord's XML-RPC, including its bugs.

use std::time::{Duration, Instant};

use contrail_lab::{ClusterSpec, Lab, NodeSpec, Release, Role, State, SupervisorVersion, Timing};
use dxr::Value;

use crate::client::{ANALYTICS, COLLECTOR, Client, SOCKET, eventually, one, request, text};

const YES: Value = Value::Boolean(true);

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    assert_eq!(rpc.call("getAPIVersion", &[]).await, Ok(text("3.0")));
    assert_eq!(rpc.call("getSupervisorVersion", &[]).await, Ok(text("3.3.1")));
    assert_eq!(rpc.call("getIdentification", &[]).await, Ok(text("supervisor")));
    let pid = lab.node("n").unwrap().supervisor_pid(ANALYTICS).unwrap();
    let pid = Value::Integer(i32::try_from(pid).unwrap());
    assert_eq!(rpc.call("getPID", &[]).await, Ok(pid));
    let Ok(Value::Array(all)) = rpc.call("getAllProcessInfo", &[]).await else {
        panic!("expected a list");
    };
    assert_eq!(all.len(), 7);
    let (state, pid, description) = rpc.info(COLLECTOR).await;
    assert_eq!(state, "RUNNING");
    assert!(description.starts_with(&format!("pid {pid}, uptime 3 days, 2:07:4")), "{description}");
    // All of these calls used one channel of one connection.
    assert_eq!(lab.node("n").unwrap().counters().streamlocal_opens, [SOCKET]);
    assert_eq!(lab.node("n").unwrap().counters().rpc_calls.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_takes_startsecs_and_gives_a_new_pid() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    let (_, before, _) = rpc.info(COLLECTOR).await;
    assert_eq!(rpc.call("stopProcess", &[text(COLLECTOR)]).await, Ok(YES));
    let (state, pid, description) = rpc.info(COLLECTOR).await;
    assert_eq!((state.as_str(), pid), ("STOPPED", 0));
    assert!(description.ends_with('M'), "{description}");
    let begun = Instant::now();
    assert_eq!(rpc.call("startProcess", &[text(COLLECTOR)]).await, Ok(YES));
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    let (state, after, _) = rpc.info(COLLECTOR).await;
    assert_eq!(state, "RUNNING");
    assert_ne!(before, after);
    let seen = lab.node("n").unwrap().process(ANALYTICS, COLLECTOR).unwrap();
    assert_eq!((seen.starts, seen.stops, seen.state), (2, 1, State::Running));
    let calls = lab.node("n").unwrap().counters().rpc_calls;
    assert!(calls.iter().any(|c| c.method == "supervisor.stopProcess" && c.args == ["\"contrail-collector\""]));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_have_supervisords_numbers_and_texts() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    let fault = |code, text: &str| Err((code, text.to_owned()));
    let name = [text(COLLECTOR)];
    assert_eq!(rpc.call("startProcess", &name).await, fault(60, "ALREADY_STARTED: contrail-collector"));
    assert_eq!(rpc.call("stopProcess", &[text("x")]).await, fault(10, "BAD_NAME: x"));
    assert_eq!(rpc.call("stopProcess", &[text("x:*")]).await, fault(10, "BAD_NAME: x:*"));
    assert_eq!(rpc.call("stopProcessGroup", &[text("x")]).await, fault(10, "BAD_NAME: x"));
    assert_eq!(rpc.call("nonsense", &[]).await, fault(1, "UNKNOWN_METHOD"));
    assert_eq!(rpc.call("startProcess", &[]).await, fault(2, "INCORRECT_PARAMETERS"));
    assert_eq!(rpc.call("stopProcess", &name).await, Ok(YES));
    assert_eq!(rpc.call("stopProcess", &name).await, fault(70, "NOT_RUNNING: contrail-collector"));
    assert_eq!(
        rpc.call("removeProcessGroup", &[text("contrail-topology")]).await,
        fault(91, "STILL_RUNNING: contrail-topology")
    );
    assert_eq!(rpc.call("addProcessGroup", &name).await, fault(90, "ALREADY_ADDED: contrail-collector"));
    rpc.send(&request("supervisor.getProcessInfo", &[Value::Integer(1)])).await;
    let (head, _) = rpc.reply().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 500 Internal Server Error"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_all_answer_one_line_each() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    for method in ["stopAllProcesses", "startAllProcesses"] {
        let Ok(Value::Array(lines)) = rpc.call(method, &[]).await else {
            panic!("expected a list");
        };
        assert_eq!(lines.len(), 7);
        for line in lines {
            let Value::Struct(line) = line else {
                panic!("expected a struct");
            };
            assert_eq!(line["status"], Value::Integer(80));
            assert_eq!(line["description"], text("OK"));
        }
    }
    let Ok(Value::Array(lines)) = rpc.call("startAllProcesses", &[]).await else {
        panic!("expected a list");
    };
    assert!(lines.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_while_stopping_answers_abnormal_termination_and_leaves_it_stopped() {
    let spec = ClusterSpec::demo(12).timing(Timing { stop: Duration::from_millis(300), ..Timing::fast() });
    let lab = Lab::start(spec).await.unwrap();
    let client = Client::root(&lab, "cfg01").await;
    let mut rpc = client.socket("/var/run/supervisord_config.sock").await;
    let name = text("contrail-schema");
    assert_eq!(rpc.call("stopProcess", &[name.clone(), Value::Boolean(false)]).await, Ok(YES));
    assert_eq!(rpc.info("contrail-schema").await.0, "STOPPING");
    assert_eq!(
        rpc.call("startProcess", std::slice::from_ref(&name)).await,
        Err((40, "ABNORMAL_TERMINATION: contrail-schema".to_owned()))
    );
    // Without waiting, the same start reports success, and nothing is started either.
    assert_eq!(rpc.call("startProcess", &[name.clone(), Value::Boolean(false)]).await, Ok(YES));
    let process = || lab.node("cfg01").unwrap().process("supervisor-config", "contrail-schema").unwrap();
    eventually("the process to stop", || process().state == State::Stopped).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((process().state, process().starts), (State::Stopped, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_length_gets_411_and_the_end() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    rpc.send("POST /RPC2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n").await;
    let all = rpc.rest().await;
    assert!(all.starts_with("HTTP/1.1 411 Length Required\r\n"), "{all}");
    assert_eq!(all.matches("HTTP/1.1").count(), 1, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_behind_a_waiting_one_turns_both_into_400_though_the_action_runs() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    assert_eq!(rpc.call("stopProcess", &[text(COLLECTOR)]).await, Ok(YES));
    let two = request("supervisor.startProcess", &[text(COLLECTOR)]) + &request("supervisor.getState", &[]);
    let begun = Instant::now();
    rpc.send(&two).await;
    let (head, body) = rpc.reply().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(450));
    assert!(head.starts_with("HTTP/1.1 400 Bad Request"), "{head}");
    assert!(body.starts_with("HTTP/1.1 400 Bad Request"), "{body}");
    let seen = lab.node("n").unwrap().process(ANALYTICS, COLLECTOR).unwrap();
    assert_eq!((seen.state, seen.starts), (State::Running, 2));
    // Requests that need not wait get their replies one after the other.
    let mut rpc = client.socket(SOCKET).await;
    let three = request("supervisor.getState", &[]).repeat(3);
    rpc.send(&three).await;
    let mut all = String::new();
    while all.matches("</methodResponse>").count() < 3 {
        all.push_str(&rpc.reply().await.unwrap().1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_the_action_done() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    assert_eq!(rpc.call("stopProcess", &[text(COLLECTOR)]).await, Ok(YES));
    rpc.send(&request("supervisor.startProcess", &[text(COLLECTOR)])).await;
    let process = || lab.node("n").unwrap().process(ANALYTICS, COLLECTOR).unwrap();
    eventually("the process to start", || process().state == State::Starting).await;
    drop(rpc);
    drop(client);
    eventually("the start to finish", || process().state == State::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multicall_waits_in_turn_and_reports_faults_as_values() {
    let lab = one(|n| n).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    let call = |method: &str, params: Vec<Value>| {
        Value::Struct([("methodName".to_owned(), text(method)), ("params".to_owned(), Value::Array(params))].into())
    };
    let calls = Value::Array(vec![
        call("supervisor.stopProcess", vec![text(COLLECTOR)]),
        call("supervisor.startProcess", vec![text(COLLECTOR)]),
        call("supervisor.startProcess", vec![text(COLLECTOR)]),
        call("system.multicall", vec![]),
    ]);
    rpc.send(&request("system.multicall", &[calls])).await;
    let (_, body) = rpc.reply().await.unwrap();
    let Value::Array(all) = dxr::MethodResponse::from_xml(&body).unwrap().value else {
        panic!("{body}");
    };
    assert_eq!(all[..2], [YES, YES]);
    let code = |v: &Value| match v {
        Value::Struct(v) => v["faultCode"].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&all[2]), Value::Integer(60));
    assert_eq!(code(&all[3]), Value::Integer(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn release_1_answers_on_tcp_only() {
    let spec = ClusterSpec::uniform(1, Release::R1_05);
    let lab = Lab::start(spec).await.unwrap();
    let client = Client::root(&lab, "n01").await;
    assert!(client.try_socket("/tmp/supervisord_analytics.sock").await.is_err());
    assert!(client.tcp(9003).await.is_err());
    let mut rpc = client.tcp(9002).await.unwrap();
    assert_eq!(rpc.info("contrail-qe").await.0, "RUNNING");
    assert_eq!(rpc.call("signalProcess", &[text("contrail-qe"), text("HUP")]).await, Err((1, "UNKNOWN_METHOD".into())));
    assert_eq!(lab.node("n01").unwrap().counters().tcpip_opens, ["localhost:9003", "localhost:9002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_where_it_is_set() {
    let lab = one(|mut n| {
        n.rpc_auth = Some(("user".into(), "pass".into()));
        n
    })
    .await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    rpc.send(&request("supervisor.getState", &[])).await;
    let (head, _) = rpc.reply().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized"), "{head}");
    assert!(head.contains("WWW-Authenticate: Basic realm=\"default\""), "{head}");
    let mut rpc = client.socket(SOCKET).await;
    let call = request("supervisor.getState", &[]);
    rpc.send(&call.replace("Host: ", "Authorization: Basic dXNlcjpwYXNz\r\nHost: ")).await;
    assert!(rpc.reply().await.unwrap().0.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_is_reread_and_applied() {
    let lab = one(|n| n).await;
    let node = lab.node("n").unwrap();
    node.add_program(ANALYTICS, "contrail-broadview");
    node.change_program(ANALYTICS, COLLECTOR);
    node.remove_program(ANALYTICS, "contrail-topology");
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    let list = |names: &[&str]| Value::Array(names.iter().map(|n| text(n)).collect());
    let lists = vec![list(&["contrail-broadview"]), list(&[COLLECTOR]), list(&["contrail-topology"])];
    assert_eq!(rpc.call("reloadConfig", &[]).await, Ok(Value::Array(vec![Value::Array(lists)])));
    assert!(node.process(ANALYTICS, "contrail-broadview").is_none());
    assert_eq!(rpc.call("addProcessGroup", &[text("contrail-broadview")]).await, Ok(YES));
    let process = || node.process(ANALYTICS, "contrail-broadview").unwrap();
    eventually("the new program to start", || process().state == State::Running).await;
    let ran = client.run(&format!("supervisorctl -s unix://{SOCKET} update")).await;
    assert_eq!(
        ran.out,
        "contrail-topology: stopped\ncontrail-topology: removed process group\n\
         contrail-collector: stopped\ncontrail-collector: updated process group\n"
    );
    assert!(node.process(ANALYTICS, "contrail-topology").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_supervisords_pid_and_cuts_its_connections() {
    let lab = one(|n| n).await;
    let node = lab.node("n").unwrap();
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    let (before, collector) = (node.supervisor_pid(ANALYTICS), rpc.info(COLLECTOR).await.1);
    assert_eq!(rpc.call("restart", &[]).await, Ok(YES));
    assert_eq!(rpc.rest().await, "");
    assert!(client.try_socket(SOCKET).await.is_err());
    eventually("supervisord to come back", || node.supervisor_pid(ANALYTICS).is_some()).await;
    assert_eq!(node.supervisor_pid(ANALYTICS), before);
    let mut rpc = client.socket(SOCKET).await;
    assert_ne!(rpc.info(COLLECTOR).await.1, collector);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_restarts_itself_when_its_api_stops_before_3_2() {
    let cascade = Duration::from_millis(200);
    for (release, restarts) in [(Release::R3_0, true), (Release::R2_20, true), (Release::R3_2, false)] {
        let node = NodeSpec::new("n", release).roles([Role::Config]);
        let lab = Lab::start(ClusterSpec::new(vec![node])).await.unwrap();
        let node = lab.node("n").unwrap();
        let before = node.supervisor_pid("supervisor-config");
        let client = Client::root(&lab, "n").await;
        let socket = node.url("supervisor-config").unwrap();
        let mut rpc = client.socket(socket.strip_prefix("unix://").unwrap()).await;
        assert_eq!(rpc.call("stopProcess", &[text("contrail-api:0")]).await, Ok(YES));
        assert_eq!(node.supervisor_pid("supervisor-config"), before);
        if restarts {
            eventually("the cascade", || {
                let now = node.supervisor_pid("supervisor-config");
                now.is_some() && now != before
            })
            .await;
            assert_eq!(rpc.rest().await, "");
            let api = || node.process("supervisor-config", "contrail-api:0").unwrap();
            eventually("the API to start", || api().state == State::Running).await;
        } else {
            tokio::time::sleep(cascade * 2).await;
            assert_eq!(node.supervisor_pid("supervisor-config"), before);
            assert_eq!(rpc.info("contrail-api:0").await.0, "STOPPED");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_and_tailed() {
    let lab = one(|n| n.supervisor(SupervisorVersion::V4_2_5)).await;
    let client = Client::root(&lab, "n").await;
    let mut rpc = client.socket(SOCKET).await;
    let args = [text(COLLECTOR), Value::Integer(-9), Value::Integer(0)];
    assert_eq!(rpc.call("readProcessStdoutLog", &args).await, Ok(text(" started\n")));
    let args = [text(COLLECTOR), Value::Integer(-9), Value::Integer(1)];
    assert_eq!(rpc.call("readProcessStdoutLog", &args).await.unwrap_err().0, 3);
    let args = [text(COLLECTOR), Value::Integer(0), Value::Integer(9)];
    let Ok(Value::Array(tail)) = rpc.call("tailProcessStdoutLog", &args).await else {
        panic!("expected a tail");
    };
    assert_eq!((&tail[0], &tail[2]), (&text(" started\n"), &YES));
}
