//! Which objects a run takes, and jobs that are refused before any work.

use std::path::Path;

use crate::program::{Sweep, column, finish, landed_in_bucket, landed_in_folder, rows};
use crate::run_sources::{
    BUCKET, PICTURES, TABLES, folder_of_pictures, from_folder, from_server, picture, server_of_pictures, text,
};
use crate::servers::s3s_server::S3Server;

/// Ends with `code` and a message with `named` in it, before anything is written.
fn check_refused(sweep: &Sweep<'_>, environment: &[(&'static str, String)], code: i32, named: &str) {
    let finished = finish(sweep.command(environment));
    assert_eq!(finished.code, Some(code), "{sweep:?}\n{}", finished.stderr);
    assert!(finished.stderr.contains(named), "{sweep:?}: expected {named:?} in\n{}", finished.stderr);
    assert_eq!(finished.stdout, "", "{sweep:?}");
    if !sweep.out.starts_with("s3://") {
        assert!(landed_in_folder(Path::new(sweep.out)).is_empty(), "{sweep:?} wrote something");
    }
}

#[test]
fn a_source_that_is_not_there_is_named_and_nothing_is_written() {
    let server = server_of_pictures();
    let out = tempfile::tempdir().unwrap();
    let sweep = |source| Sweep { source, out: text(out.path()), scorer: "none", flags: &[] };
    check_refused(&sweep("/no/such/folder"), &[], 3, "/no/such/folder");
    check_refused(&sweep("s3://no-such-bucket/x"), &server.environment(), 3, "no-such-bucket");
    check_refused(&sweep("s3://"), &server.environment(), 2, "s3://BUCKET/PREFIX");
    check_refused(&sweep("gs://archive/"), &server.environment(), 2, "gs");
}

#[test]
fn a_destination_that_is_not_there_is_named() {
    let server = server_of_pictures();
    let file = tempfile::NamedTempFile::new().unwrap();
    let source = folder_of_pictures();
    let sweep = |out| Sweep { source: text(source.path()), out, scorer: "none", flags: &[] };
    check_refused(&sweep("s3://no-such-bucket/x"), &server.environment(), 3, "no-such-bucket");
    check_refused(&sweep(text(file.path())), &[], 3, text(file.path()));
    check_refused(&sweep("/proc/no/such"), &[], 3, "/proc/no/such");
}

#[test]
fn wrong_and_missing_credentials_are_named_and_nothing_is_written() {
    let server = server_of_pictures();
    let out = tempfile::tempdir().unwrap();
    let sweep = Sweep { source: "s3://archive/", out: text(out.path()), scorer: "none", flags: &[] };
    let without_key: Vec<_> = server.environment().into_iter().filter(|(name, _)| !name.contains("KEY")).collect();
    check_refused(&sweep, &without_key, 3, "AWS_ACCESS_KEY_ID");
    let mut wrong = without_key;
    wrong.push(("AWS_ACCESS_KEY_ID", "SOMEBODYELSE".to_owned()));
    wrong.push(("AWS_SECRET_ACCESS_KEY", "guess".to_owned()));
    check_refused(&sweep, &wrong, 3, "InvalidAccessKeyId");
}

#[test]
fn a_folder_that_may_not_be_read_is_named_and_nothing_is_written() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let above = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let (locked, out) = (above.path().join("locked"), above.path().join("out"));
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o000)).unwrap();
    let sweep = Sweep { source: text(&locked), out: text(&out), scorer: "none", flags: &[] };
    let mut command = sweep.command(&[]);
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        // Root may read everything; nobody may not. The program is copied to where nobody finds it.
        let program = above.path().join("deepsweep");
        std::fs::copy(env!("CARGO_BIN_EXE_deepsweep"), &program).unwrap();
        std::fs::create_dir(&out).unwrap();
        std::fs::set_permissions(&out, PermissionsExt::from_mode(0o777)).unwrap();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut as_nobody = std::process::Command::new(program);
        as_nobody.args(arguments).env_clear().uid(NOBODY).stdout(std::process::Stdio::piped());
        as_nobody.stderr(std::process::Stdio::piped());
        command = as_nobody;
    }
    let finished = finish(command);
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    assert!(finished.stderr.contains(text(&locked)), "{}", finished.stderr);
    assert!(landed_in_folder(&out).is_empty());
}

#[test]
fn results_beside_the_source_are_no_media_of_the_next_run() {
    let source = folder_of_pictures();
    let out = source.path().join("results");
    for run in ["first", "second"] {
        let flags = ["--run-id", run, "--include-finished"];
        Sweep { source: text(source.path()), out: text(&out), scorer: "none", flags: &flags }.succeed(&[]);
    }
    assert_eq!(rows(&landed_in_folder(&out), "media").len(), 2 * PICTURES.len());

    let server = server_of_pictures();
    for run in ["first", "second"] {
        let flags = ["--run-id", run, "--include-finished"];
        let sweep = Sweep { source: "s3://archive", out: "s3://archive/results", scorer: "none", flags: &flags };
        sweep.succeed(&server.environment());
    }
    assert_eq!(rows(&landed_in_bucket(&server, BUCKET, "results/"), "media").len(), 2 * PICTURES.len());
}

#[test]
fn a_finished_run_is_finished_again_and_one_of_other_settings_is_refused_and_neither_changes_anything() {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    let sweep = Sweep { source: text(source.path()), out: text(out.path()), scorer: "none", flags: &[] };
    sweep.succeed(&[]);
    let before = landed_in_folder(out.path());
    std::fs::remove_file(source.path().join("group.jpg")).unwrap();
    let again = sweep.succeed(&[]);
    assert!(again.stdout.contains(&format!("objects    {} ", PICTURES.len())), "{}", again.stdout);
    assert_eq!(landed_in_folder(out.path()), before);
    let others: [(&[&str], &str); 4] = [
        (&["--min-face-px", "50"], "--min-face-px"),
        (&["--suffix", ".jpg"], "--suffix"),
        (&["--dt", "2026-01-03"], "--dt"),
        (&["--scorer", "untrained-demo"], "--scorer"),
    ];
    for (flags, named) in others {
        let finished = finish(Sweep { flags, ..sweep }.command(&[]));
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        for said in [named, "\"first\"", "--run-id"] {
            assert!(finished.stderr.contains(said), "expected {said:?} in\n{}", finished.stderr);
        }
        assert_eq!(landed_in_folder(out.path()), before);
    }
}

#[test]
fn a_source_without_objects_gives_tables_without_rows() {
    let source = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let sweep = Sweep { source: text(source.path()), out: text(out.path()), scorer: "untrained-demo", flags: &[] };
    let finished = sweep.succeed(&[]);
    assert!(finished.stderr.contains("no object was found"), "{}", finished.stderr);
    let landed = landed_in_folder(out.path());
    for table in TABLES {
        let parts = landed.keys().filter(|key| key.starts_with(&format!("{table}/dt=2026-01-02/run=first/"))).count();
        assert_eq!((parts, rows(&landed, table).len()), (1, 0), "{table}");
    }
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    assert_eq!(rows(&from_server(&server, &[]), "media"), []);
}

// --- Filters.

#[test]
fn a_filter_lets_through_what_it_names() {
    let source = folder_of_pictures();
    std::fs::create_dir(source.path().join("sub")).unwrap();
    std::fs::write(source.path().join("sub/SMALL.JPG"), picture("portrait_small.jpg")).unwrap();
    std::fs::write(source.path().join("note.txt"), "no picture").unwrap();
    let old = std::fs::File::options().append(true).open(source.path().join("no_face.jpg")).unwrap();
    let midsummer_2020 = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_592_697_600);
    old.set_modified(midsummer_2020).unwrap();
    let size = |name: &str| format!("{}B", picture(name).len());
    let (group, small) = (size("group.jpg"), size("portrait_small.jpg"));
    let cases: [(&[&str], &[&str]); 10] = [
        (&["--suffix", ".jpg"], &["astronaut.jpg", "group.jpg", "no_face.jpg", "portrait_small.jpg", "sub/SMALL.JPG"]),
        (&["--suffix", ".txt", "--suffix", "small.jpg"], &["note.txt", "portrait_small.jpg", "sub/SMALL.JPG"]),
        (&["--include", "sub/*"], &["sub/SMALL.JPG"]),
        (&["--include", "*o*.jpg", "--exclude", "*_*"], &["astronaut.jpg", "group.jpg"]),
        (
            &["--suffix", ".jpg", "--exclude", "*.JPG", "--exclude", "g*"],
            &["astronaut.jpg", "no_face.jpg", "portrait_small.jpg"],
        ),
        (&["--min-size", &group], &["group.jpg"]),
        (&["--max-size", &small], &["note.txt", "portrait_small.jpg", "sub/SMALL.JPG"]),
        (&["--modified-before", "2020-06-22"], &["no_face.jpg"]),
        (&["--modified-after", "2020-06-22", "--suffix", "e.jpg"], &[]),
        (&["--modified-after", "2020-06-21T00:00:00Z", "--modified-before", "2020-06-21T00:00:01Z"], &["no_face.jpg"]),
    ];
    for (flags, expected) in cases {
        assert_eq!(column(&rows(&from_folder(source.path(), flags), "media"), "key"), expected, "{flags:?}");
    }
}
