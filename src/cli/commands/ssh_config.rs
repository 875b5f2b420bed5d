//! `ctl ssh-config NODE|HOST`: what `ssh -G` would say, with the inventory and the command line laid over it.

use std::io::Write;

use ctl_args::args::SshConfigArgs;
use ctl_args::settings;
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_console::terminal;
use ctl_session::endpoints::EndpointResolver;
use ctl_sink::text;

pub(in crate::cli) fn run(args: &SshConfigArgs) -> Result<ExitStatus, CliError> {
    let ssh = args.ssh.clone().into();
    let ways = EndpointResolver::new(&ssh)?;
    let inventory = match settings::find_inventory(args.inventory.as_deref()) {
        Ok(_) => Some(settings::inventory(args.inventory.as_deref(), &settings::SavedInputs::default())?.0),
        // Any host can be asked about.
        Err(_) => None,
    };
    let node = inventory.as_ref().and_then(|inventory| inventory.node(&args.host));
    let resolved = match node {
        Some(node) => ways.of_node(node)?,
        None => ways.of_host(&args.host)?,
    };
    ways.judge(&resolved);
    // As notes even if a run would refuse them: this command connects to nothing.
    for line in ways.notes() {
        terminal::say(&format!("note: {line}"));
    }
    match write!(std::io::stdout().lock(), "{}", text::visible_lines(&resolved.to_ssh_g())) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::usage(format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(ExitStatus::Good),
    }
}
