//! Runs a lab in its own process until stdin closes.
//!
//!     cargo run -p contrail-lab --example lab -- --nodes 12 --fault a6s02=refused
//!
//! Options: `--nodes N` (default 12), `--uniform RELEASE` (1.05, 2.20, 3.0 or 3.2: all analytics nodes),
//! `--release RELEASE` (of a demo cluster), `--port P`, `--real-time`, `--fault NODE=KIND[=PARAMETER]` (repeatable;
//! `all` for every node; kinds as in `Fault::parse`). Prints the lab's directory on the first line of stdout, then
//! `port P`, then `ready`.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use contrail_lab::{ClusterSpec, Fault, Lab, Release, Timing};

fn release(text: &str) -> Result<Release, String> {
    Ok(match text {
        "1.05" => Release::R1_05,
        "2.20" => Release::R2_20,
        "3.0" => Release::R3_0,
        "3.2" => Release::R3_2,
        _ => return Err(format!("unknown release {text}")),
    })
}

fn spec(args: impl Iterator<Item = String>) -> Result<ClusterSpec, String> {
    let (mut nodes, mut uniform, mut of, mut port, mut real) = (12, None, None, None, false);
    let mut faults = Vec::new();
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse::<usize>().map_err(|e| format!("{text}: {e}"));
        match arg.as_str() {
            "--nodes" => nodes = number(value()?)?,
            "--uniform" => uniform = Some(release(&value()?)?),
            "--release" => of = Some(release(&value()?)?),
            "--port" => port = Some(value()?.parse::<u16>().map_err(|e| e.to_string())?),
            "--real-time" => real = true,
            "--fault" => {
                let text = value()?;
                let (node, fault) = text.split_once('=').ok_or("--fault NODE=KIND")?;
                let fault = Fault::parse(fault).map_err(|e| e.to_string())?;
                faults.push((node.to_owned(), fault));
            }
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    let mut spec = match uniform {
        Some(release) => ClusterSpec::uniform(nodes, release),
        None => ClusterSpec::demo(nodes),
    };
    if let Some(release) = of {
        spec = spec.release(release);
    }
    if real {
        spec = spec.timing(Timing::default());
    }
    spec.port = port;
    for (node, fault) in faults {
        if node == "all" {
            spec = spec.each(|n| n.faults.push(fault.clone()));
        } else if spec.node_mut(&node).is_none() {
            return Err(format!("no node {node}"));
        } else {
            spec = spec.fault(&node, fault);
        }
    }
    Ok(spec)
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let spec = spec(std::env::args().skip(1))?;
    // Each listener and each connection needs a descriptor.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let lab = Lab::start(spec).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}\nport {}\nready", lab.dir().display(), lab.port())?;
    out.flush()?;
    tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        while matches!(std::io::stdin().lock().read_line(&mut line), Ok(n) if n > 0) {
            line.clear();
        }
    })
    .await?;
    drop(lab);
    Ok(())
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    match runtime.block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _told = writeln!(std::io::stderr(), "lab: {error}").is_ok();
            ExitCode::FAILURE
        }
    }
}
