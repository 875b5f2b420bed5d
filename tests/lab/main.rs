//! Tests of the guarantees of `ctl` against the lab, above all under faults.
//!
//! Every test has its own lab in this process (see `harness`) and runs the real binary against it. The tests read
//! effects on a node from the lab, never only from the output of `ctl`. They assert no timing, except that a run ends.

mod batched;
mod cp;
mod depth;
mod discovery;
mod examples;
mod exec;
mod faults;
mod files;
#[path = "../support/following.rs"]
mod following;
mod gates;
mod glance;
mod groups;
mod guards;
mod habits;
mod harness;
mod helpers;
mod host_keys;
mod hostile_text;
mod init;
mod inventories;
mod late;
mod limits;
mod live;
mod live_plan;
mod local_files;
mod locks;
mod logs;
mod metrics;
mod mistakes;
mod no_match;
mod oneshot;
mod output;
mod prompts;
mod reach;
mod releases;
mod resume;
mod rolling;
mod rollouts;
mod selection;
mod sequences;
mod signals;
mod silent;
mod snapshots;
#[path = "../support/terminal.rs"]
mod terminal;
mod update;
mod waiting;
