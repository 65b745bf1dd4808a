//! Pulling models from a hub that breaks off, stalls, throttles, changes, lies and redirects.

use std::time::{Duration, Instant};

use crate::model_fixture::{Fixture, REPOSITORY, REVISION, TOWER, WEIGHTS_BYTES, names, registry, weights};
use crate::program::{Finished, await_end};
use crate::servers::hub::{Fault, Host, SIGNATURE, Seen, sha256};

fn no_environment() -> [(&'static str, String); 0] {
    []
}

fn assert_code(finished: &Finished, code: i32) {
    assert_eq!(finished.code, Some(code), "{}{}", finished.stdout, finished.stderr);
}

/// Ends with `code`, says every one of `named`, and leaves no file under a name of its own.
fn check_refused(fixture: &Fixture, environment: &[(&'static str, String)], code: i32, named: &[&str]) {
    let finished = fixture.pull(environment);
    assert_code(&finished, code);
    for name in named {
        assert!(finished.stderr.contains(name), "expected {name:?} in\n{}", finished.stderr);
    }
    assert!(!fixture.file("model.safetensors").exists());
}

/// The ranges that the CDN was asked for, one for each request.
fn ranges(seen: &[Seen]) -> Vec<Option<usize>> {
    let from = |seen: &Seen| Some(seen.range.as_ref()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().unwrap());
    seen.iter().map(from).collect()
}

#[test]
fn a_pull_ends_with_the_pinned_files_and_a_second_asks_nobody() {
    let fixture = Fixture::start();
    let finished = fixture.pull(&no_environment());
    assert_code(&finished, 0);
    fixture.assert_whole();
    assert!(finished.stdout.starts_with("small: 3.1 MiB in "), "{}", finished.stdout);
    let from = format!("pulling 3 files, 3.1 MiB, from {} into ", fixture.hub.endpoint());
    assert!(finished.stderr.contains(&from), "{}", finished.stderr);

    let requests = fixture.hub.seen().len();
    assert_code(&fixture.pull(&no_environment()), 0);
    assert_eq!(fixture.hub.seen().len(), requests);
}

#[test]
fn log_lines_are_json_where_that_is_asked_for() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Cdn, 1, Fault::Status(503, Some(0)));
    let finished = fixture.models(&["pull", "small", "--log", "json"]);
    assert_code(&finished, 0);
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let levels: Vec<_> = finished.stderr.lines().map(|line| parse(line)["level"].clone()).collect();
    assert_eq!(levels, ["INFO", "WARN", "INFO"]);
}

#[test]
fn quiet_says_nothing() {
    let fixture = Fixture::start();
    let finished = fixture.models(&["pull", "small", "--quiet"]);
    assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (Some(0), "", ""));
    fixture.assert_whole();
}

#[test]
fn a_body_that_breaks_off_is_resumed_by_range() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Cdn, 1, Fault::Cut(1_500_000));
    fixture.hub.fail(Host::Cdn, 2, Fault::Cut(700_000));
    assert_code(&fixture.pull(&no_environment()), 0);
    fixture.assert_whole();
    let seen = fixture.hub.seen_by(Host::Cdn);
    let [None, Some(first), Some(second)] = ranges(&seen)[..] else { panic!("{seen:?}") };
    // A connection that ends takes with it what was still on its way.
    assert!(first > 1_000_000 && first <= 1_500_000 && first < second && second <= 2_200_000, "{first} {second}");
    let etag = format!("\"v0-{}\"", &sha256(&weights())[..8]);
    assert_eq!(seen[0].if_range, None);
    assert!(seen[1..].iter().all(|seen| seen.if_range.as_ref() == Some(&etag)), "{seen:?}");
}

#[test]
fn a_killed_pull_is_taken_up_by_the_next_process() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Cdn, 1, Fault::Stall(2_200_000));
    let mut child = fixture.command(&["pull", "small"], &[]).spawn().unwrap();
    let part = fixture.file(".model.safetensors.part");
    wait_for(|| part.metadata().is_ok_and(|found| found.len() >= 1 << 20));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!fixture.file("model.safetensors").exists());
    let kept = usize::try_from(part.metadata().unwrap().len()).unwrap();

    assert_code(&fixture.pull(&no_environment()), 0);
    fixture.assert_whole();
    assert_eq!(ranges(&fixture.hub.seen_by(Host::Cdn)), [None, Some(kept)]);
}

#[test]
fn what_was_left_and_damaged_meanwhile_is_pulled_anew() {
    let fixture = Fixture::start();
    std::fs::create_dir_all(fixture.cache().join(TOWER)).unwrap();
    std::fs::write(fixture.file(".model.safetensors.part"), vec![7; 1_000_000]).unwrap();
    assert_code(&fixture.pull(&no_environment()), 0);
    fixture.assert_whole();
    assert_eq!(ranges(&fixture.hub.seen_by(Host::Cdn)), [Some(1_000_000), None]);
}

#[test]
fn a_server_that_ignores_the_range_restarts_the_file() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Cdn, 1, Fault::Cut(1_500_000));
    fixture.hub.fail(Host::Cdn, 2, Fault::IgnoreRange);
    assert_code(&fixture.pull(&no_environment()), 0);
    fixture.assert_whole();
}

#[test]
fn another_etag_in_the_middle_restarts_the_file() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Cdn, 1, Fault::Cut(1_500_000));
    fixture.hub.fail(Host::Cdn, 2, Fault::ChangedEtag);
    assert_code(&fixture.pull(&no_environment()), 0);
    fixture.assert_whole();
    // The second brought the whole of the new version, although it was asked for the rest.
    let seen = fixture.hub.seen_by(Host::Cdn);
    assert!(matches!(ranges(&seen)[..], [None, Some(1_000_000..)]), "{seen:?}");
}

#[test]
fn passing_faults_are_waited_out_wherever_they_are() {
    for host in [Host::Hub, Host::Cdn] {
        for fault in [
            Fault::Status(500, None),
            Fault::Status(502, None),
            Fault::Status(503, Some(0)),
            Fault::Status(429, None),
            Fault::Reset,
            Fault::Hang,
        ] {
            let fixture = Fixture::start();
            fixture.hub.fail(host, 1, fault);
            assert_code(&fixture.pull(&no_environment()), 0);
            fixture.assert_whole();
        }
    }
}

#[test]
fn a_body_that_stalls_is_given_up_and_resumed() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Cdn, 1, Fault::Stall(1_200_000));
    assert_code(&fixture.pull(&no_environment()), 0);
    fixture.assert_whole();
    assert_eq!(ranges(&fixture.hub.seen_by(Host::Cdn)), [None, Some(1_200_000)]);
}

#[test]
fn retry_after_is_obeyed() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Hub, 1, Fault::Status(429, Some(2)));
    let finished = fixture.pull(&no_environment());
    assert_code(&finished, 0);
    assert!(finished.elapsed >= Duration::from_secs(2), "{:?}", finished.elapsed);
    assert!(finished.stderr.contains("trying again in 2s"), "{}", finished.stderr);
}

#[test]
fn a_host_that_stays_away_ends_the_pull_with_try_again_and_keeps_what_came() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Cdn, 1, Fault::Cut(2 << 20));
    for nth in 2..=20 {
        fixture.hub.fail(Host::Cdn, nth, Fault::Status(503, Some(0)));
    }
    check_refused(&fixture, &[], 75, &["model.safetensors", "503", "MiB of 3.1 MiB are kept", "try again later"]);
    assert!(fixture.file(".model.safetensors.part").metadata().unwrap().len() > 1_000_000);
    assert_eq!(fixture.hub.seen_by(Host::Cdn).len(), 1 + 6);
}

#[test]
fn another_file_is_deleted_and_named() {
    let fixture = Fixture::start();
    fixture.hub.always(Host::Cdn, Fault::WrongByte);
    let pinned = sha256(&weights());
    let mut wrong = weights();
    wrong[WEIGHTS_BYTES / 2] ^= 1;
    let named = [&pinned, &sha256(&wrong), REPOSITORY, "model.safetensors", "deleted"];
    check_refused(&fixture, &[], 3, &named);
    assert_eq!(names(&fixture.cache().join(TOWER)), [".lock", "config.json"]);
}

#[test]
fn what_the_hub_itself_says_is_another_file_is_not_pulled() {
    let fixture = Fixture::start();
    let other = sha256(b"another");
    fixture.hub.state_etag(&other);
    check_refused(&fixture, &[], 3, &[&other, &sha256(&weights()), "by the hub's own word"]);
    assert_eq!(fixture.hub.seen_by(Host::Cdn).len(), 0);

    fixture.hub.state_etag("");
    fixture.write_registry(&registry(&format!("{}/heads/fc.pth", fixture.hub.endpoint()), 9));
    check_refused(&fixture, &[], 3, &["expected 9 bytes, found 3300001"]);
    assert_eq!(fixture.hub.seen_by(Host::Cdn).len(), 0);
}

#[test]
fn refusals_say_what_to_do() {
    let token = |token: &str| vec![("HF_TOKEN", token.to_owned())];
    let commit = &REVISION[..12];
    for (prepare, environment, named) in [
        (Fault::Status(401, None), vec![], vec!["401", "set HF_TOKEN", REPOSITORY]),
        (Fault::Status(403, None), token("hf_x"), vec!["403", "terms", "HF_TOKEN"]),
        (Fault::Status(404, None), vec![], vec!["not found", REPOSITORY, commit, "config.json"]),
        (Fault::Redirect, vec![], vec!["redirected more than 5 times"]),
        (Fault::Page, vec![], vec![" bytes, found 13 (text/html)", "proxy"]),
        (Fault::Status(418, None), vec![], vec!["418"]),
    ] {
        let fixture = Fixture::start();
        fixture.hub.always(Host::Hub, prepare);
        check_refused(&fixture, &environment, 3, &named);
    }
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let fixture = Fixture::start();
    // The head lies on a host that is not the hub.
    let elsewhere = Fixture::start();
    fixture.write_registry(&registry(&format!("{}/heads/fc.pth", elsewhere.hub.endpoint()), weights().len() as u64));
    fixture.hub.require_token("hf_t0ken");
    fixture.hub.fail(Host::Cdn, 1, Fault::Cut(100));
    fixture.hub.fail(Host::Cdn, 2, Fault::Status(500, None));
    check_refused(&fixture, &[], 3, &["Access to this model is restricted", "HF_TOKEN"]);
    let environment = [("HF_TOKEN", "hf_t0ken".to_owned()), ("RUST_LOG", "trace".to_owned())];
    let finished = fixture.pull(&environment);
    assert_code(&finished, 0);

    let of_hub = fixture.hub.seen_by(Host::Hub);
    assert!(of_hub[1..].iter().all(|seen| seen.authorization.as_deref() == Some("Bearer hf_t0ken")), "{of_hub:?}");
    let others = [fixture.hub.seen_by(Host::Cdn), elsewhere.hub.seen()].concat();
    assert_eq!(others.len(), 3 + 1);
    assert!(others.iter().all(|seen| seen.authorization.is_none()), "{others:?}");
    for secret in ["hf_t0ken", SIGNATURE] {
        // At trace even the HTTP client speaks.
        assert!(!finished.stdout.contains(secret) && !finished.stderr.contains(secret), "{}", finished.stderr);
    }
}

#[test]
fn a_hub_may_lie_below_a_path() {
    let fixture = Fixture::start();
    let endpoint = format!("{}/mirror/", fixture.hub.endpoint());
    assert_code(&fixture.pull(&[("HF_ENDPOINT", endpoint)]), 0);
    fixture.assert_whole();
    assert_eq!(fixture.hub.seen()[0].path, format!("/mirror/{REPOSITORY}/resolve/{REVISION}/config.json"));
}

#[test]
fn two_processes_pull_once() {
    let fixture = Fixture::start();
    fixture.hub.always(Host::Cdn, Fault::Slow(Duration::from_millis(30)));
    let children: Vec<_> = (0..2).map(|_| fixture.command(&["pull", "small"], &[]).spawn().unwrap()).collect();
    let finished: Vec<Finished> = children.into_iter().map(await_end).collect();
    finished.iter().for_each(|finished| assert_code(finished, 0));
    fixture.assert_whole();
    assert_eq!(ranges(&fixture.hub.seen_by(Host::Cdn)), [None]);
    let waited = finished.iter().filter(|finished| finished.stderr.contains("another process is pulling")).count();
    assert!(waited >= 1, "{finished:?}");
}

#[test]
fn a_process_that_dies_leaves_no_lock() {
    let fixture = Fixture::start();
    fixture.hub.fail(Host::Cdn, 1, Fault::Stall(0));
    let mut first = fixture.command(&["pull", "small"], &[]).spawn().unwrap();
    wait_for(|| fixture.file(".model.safetensors.part").exists());
    let second = fixture.command(&["pull", "small"], &[]).spawn().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_code(&await_end(second), 0);
    fixture.assert_whole();
}

#[test]
fn a_disk_that_is_too_small_is_known_before_anything_is_asked() {
    let fixture = Fixture::start();
    let petabyte = 1 << 50;
    fixture.write_registry(&registry(&format!("{}/heads/fc.pth", fixture.hub.endpoint()), petabyte));
    check_refused(&fixture, &[], 3, &["1.0 PiB of free space", "--models FOLDER"]);
    assert_eq!(fixture.hub.seen().len(), 0);
}

#[test]
fn a_disk_that_fills_up_leaves_nothing_half_made() {
    let fixture = Fixture::start();
    // No byte beyond the first mebibyte of a file can be written; the signal that says so is ignored, as on a full disk.
    let inner = fixture.command(&["pull", "small"], &[]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]).arg(inner.get_program());
    command.args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let finished = await_end(command.spawn().unwrap());
    assert_code(&finished, 3);
    assert!(finished.stderr.contains("the disk is full") && finished.stderr.contains("3.1 MiB"), "{}", finished.stderr);
    assert_eq!(names(&fixture.cache().join(TOWER)), [".lock", "config.json"]);

    // With room again it is whole.
    assert_code(&fixture.pull(&no_environment()), 0);
    fixture.assert_whole();
}

fn wait_for(condition: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < give_up, "nothing came in 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
