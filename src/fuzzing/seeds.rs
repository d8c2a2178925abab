//! The inputs below `fuzz/seeds`, and inputs that once were counterexamples among them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Panics where it doesn't hold.
type Property = fn(&[u8]);

/// The targets by their names.
const TARGETS: [(&str, Property); 6] = [
    ("endpoints", super::endpoints),
    ("http", super::http),
    ("json", super::json),
    ("stream", super::stream),
    ("watch", super::watch),
    ("websocket", super::websocket),
];

fn below_fuzz(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn stems(folder: &str) -> BTreeSet<String> {
    files(&below_fuzz(folder)).iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_property_has_a_fuzz_target_and_seeds() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("seeds"), targets);
}

fn replay(target: &str) {
    let (_, property) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let seeds = files(&below_fuzz("seeds").join(target));
    assert!(!seeds.is_empty());
    for path in seeds {
        eprintln!("{}", path.display());
        let seed = std::fs::read(&path).unwrap();
        // Cut and damaged ones as well, as a fuzzer begins.
        property(&seed);
        for place in (0..seed.len()).step_by(1 + seed.len() / 20) {
            property(&seed[..place]);
            let mut damaged = seed.clone();
            damaged[place] ^= 0x15;
            property(&damaged);
        }
    }
}

#[test]
fn no_seed_is_a_counterexample_of_what_holds_for_messages() {
    replay("json");
}

#[test]
fn no_seed_is_a_counterexample_of_what_holds_for_streams() {
    replay("stream");
}

#[test]
fn no_seed_is_a_counterexample_of_what_holds_for_websockets() {
    replay("websocket");
}

#[test]
fn no_seed_is_a_counterexample_of_what_holds_for_answers() {
    replay("http");
}

#[test]
fn no_seed_is_a_counterexample_of_what_holds_for_watches() {
    replay("watch");
}

#[test]
fn no_seed_is_a_counterexample_of_what_holds_for_a_clients_options() {
    replay("endpoints");
}
