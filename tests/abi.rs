//! What cbindgen does wrong without a word, and what every exported function must have: checked on the sources, the
//! header and the list of symbols.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unsafe_code, reason = "calls the C interface")]

use etcdgw::ffi::etcdgw_status_name;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> String {
    fs::read_to_string(root().join("include/etcdgw.h")).unwrap()
}

/// The header without its comments and macros: what is declared.
fn declarations() -> String {
    let header = header();
    let mut code = String::new();
    let mut rest = header.as_str();
    while let Some((before, comment)) = rest.split_once("/*") {
        code += before;
        rest = comment.split_once("*/").unwrap().1;
    }
    code += rest;
    let code = code.replace("\\\n", " ");
    code.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

fn symbols() -> BTreeSet<String> {
    let list = fs::read_to_string(root().join("tests/abi/symbols.txt")).unwrap();
    list.lines().map(str::to_owned).collect()
}

/// The sources of the C interface by their names.
fn sources() -> BTreeMap<String, String> {
    let files = fs::read_dir(root().join("src/ffi")).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap())).collect()
}

/// The bodies of the exported functions by their names; they end with the first brace in column 0.
fn exported_functions() -> BTreeMap<String, String> {
    let mut functions = BTreeMap::new();
    for source in sources().values() {
        for text in source.split("#[unsafe(no_mangle)]\n").skip(1) {
            let body = text.split_once("\n}\n").unwrap().0;
            let name = body.split_once("fn ").unwrap().1.split_once('(').unwrap().0;
            functions.insert(name.to_owned(), body.to_owned());
        }
    }
    functions
}

/// The identifiers before an opening parenthesis that begin as ours do.
fn declared_functions() -> BTreeSet<String> {
    let declarations = declarations();
    let before_parentheses = declarations.split('(').map(|text| {
        text.rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next().unwrap_or_default()
    });
    before_parentheses.filter(|name| name.starts_with("etcdgw_")).map(str::to_owned).collect()
}

fn declared_types() -> BTreeSet<String> {
    let declarations = declarations();
    let names = declarations.lines().filter_map(|line| match line.strip_prefix("typedef ") {
        Some(alias) => Some(alias.split_once("(*").map_or(alias, |(_, name)| name)),
        None => line.strip_prefix("} "),
    });
    let last_word = |text: &str| {
        let text = text.split([';', ')', '{']).next().unwrap_or_default().trim();
        text.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    names.map(last_word).filter(|name| name.starts_with("etcdgw_")).collect()
}

#[test]
fn sources_header_and_symbol_list_have_the_same_functions() {
    let symbols = symbols();
    assert_eq!(exported_functions().into_keys().collect::<BTreeSet<_>>(), symbols, "src/ffi/ against symbols.txt");
    // A function that a macro makes is exported, but cbindgen doesn't see it.
    assert_eq!(declared_functions(), symbols, "include/etcdgw.h against symbols.txt");
}

#[test]
fn every_function_is_declared_extern_c_and_has_its_body_inside_the_panic_boundary() {
    for (name, body) in exported_functions() {
        assert!(body.contains("extern \"C\" fn"), "{name}");
        let (entries, can_fail) = (body.matches("fallible(").count(), body.contains("-> etcdgw_status {"));
        assert_eq!(entries, 1, "{name} must enter the boundary once");
        let takes_err = body.contains("err: *mut *mut etcdgw_error");
        assert_eq!(body.contains("infallible("), !takes_err, "{name}");
        assert!(can_fail || !takes_err, "{name} has an err, but no status");
    }
}

#[test]
fn no_exported_function_stands_outside_the_folder_of_the_c_interface() {
    fn look(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("src/ffi") {
                look(&entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                assert!(!fs::read_to_string(&entry).unwrap().contains("no_mangle"), "{}", entry.display());
            }
        }
    }
    look(&root().join("src"));
}

#[test]
fn only_handles_are_opaque() {
    let declarations = declarations();
    let opaque: BTreeSet<&str> = declarations
        .lines()
        .filter_map(|line| line.strip_prefix("typedef struct ")?.strip_suffix(';')?.split(' ').next())
        .collect();
    // A struct that lacks repr(C) would be among them.
    let handles = [
        "etcdgw_barrier",
        "etcdgw_cancel",
        "etcdgw_client",
        "etcdgw_double_barrier",
        "etcdgw_election",
        "etcdgw_election_observer",
        "etcdgw_error",
        "etcdgw_keepalive",
        "etcdgw_lock",
        "etcdgw_mirror",
        "etcdgw_mutex",
        "etcdgw_queue",
        "etcdgw_rwlock",
        "etcdgw_scan",
        "etcdgw_session",
        "etcdgw_stm_handle",
        "etcdgw_txn",
        "etcdgw_watch_handle",
        "etcdgw_workqueue",
    ];
    assert_eq!(opaque, BTreeSet::from(handles));
}

#[test]
fn every_type_that_the_header_uses_is_declared_in_it() {
    let declarations = declarations();
    let words = declarations.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let known_to_c = ["typedef", "struct", "const", "extern", "void", "char", "int", "size_t", "C", "type"];
    let ours = declared_types();
    let types = words.filter(|word| word.starts_with("etcdgw_") || word.chars().any(char::is_uppercase));
    for word in types {
        let is_known = ours.contains(word) || symbols().contains(word) || known_to_c.contains(&word);
        assert!(is_known, "{word} is used, but not declared");
    }
}

#[test]
fn no_type_shares_a_name_with_a_function() {
    let (types, functions) = (declared_types(), declared_functions());
    assert!(types.contains("etcdgw_watch_handle") && types.contains("etcdgw_bytes") && types.contains("etcdgw_status"));
    assert_eq!(types.intersection(&functions).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn nothing_crosses_that_c_could_give_a_wrong_value_of() {
    let declarations = declarations();
    for word in ["enum", "bool", "_Bool", "union", "long", "time_t", "..."] {
        let found = declarations.split(|letter: char| letter.is_whitespace() || letter == '(').any(|text| text == word);
        assert!(!found, "{word}");
    }
}

#[test]
fn no_documentation_ends_the_comment_that_it_becomes() {
    for (name, source) in sources() {
        for line in source.lines().map(str::trim_start).filter(|line| line.starts_with("///")) {
            assert!(!line.contains("*/") && !line.contains("/*"), "{name}: {line}");
            assert!(line.is_ascii(), "{name}: {line}");
        }
    }
}

#[test]
fn everything_is_inside_the_include_guard() {
    let header = header();
    let (before, guarded) = header.split_once("#ifndef ETCDGW_H\n#define ETCDGW_H\n").unwrap();
    let before = before.trim();
    assert!(before.starts_with("/*") && before.ends_with("*/") && before.matches("*/").count() == 1, "{before}");
    let guard_end = "#endif  /* ETCDGW_H */";
    assert_eq!(guarded.split_once(guard_end).unwrap().1.trim(), "");
}

#[test]
fn every_option_struct_begins_alike_and_has_its_initialiser() {
    let (header, declarations) = (header(), declarations());
    let structs: Vec<&str> = declarations
        .lines()
        .filter_map(|line| line.strip_prefix("typedef struct ")?.strip_suffix("_options {"))
        .collect();
    assert!(structs.len() >= 10, "{structs:?}");
    for name in structs {
        let body = declarations.split_once(&format!("typedef struct {name}_options {{")).unwrap().1;
        let fields: Vec<&str> = body.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
        assert_eq!(fields, ["size_t struct_size;", "int64_t timeout_ms;", "struct etcdgw_cancel *cancel;"], "{name}");
        let macro_name = format!("#define {}_OPTIONS_INIT ", name.to_uppercase());
        assert!(header.contains(&macro_name), "{macro_name}");
    }
}

#[test]
fn every_response_has_its_free_function() {
    let types = declared_types();
    let responses: Vec<_> = types.iter().filter(|name| name.ends_with("_response")).collect();
    assert!(responses.len() >= 10, "{responses:?}");
    for name in responses {
        assert!(symbols().contains(&format!("{name}_free")), "{name}");
    }
}

#[test]
fn every_status_has_its_name() {
    let header = header();
    let constants = header.lines().filter_map(|line| line.strip_prefix("#define ETCDGW_")?.split_once(' '));
    let numbered: Vec<(&str, i32)> = constants.filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
    let end = numbered.iter().position(|(name, _)| *name == "INTERNAL_PANIC").unwrap();
    let begin = numbered.iter().position(|(name, _)| *name == "OK").unwrap();
    let statuses = &numbered[begin..=end];
    assert_eq!(statuses.len(), 30);
    for (name, number) in statuses {
        // SAFETY: a static string.
        let given = unsafe { CStr::from_ptr(etcdgw_status_name(*number)) };
        assert_eq!(given.to_str().unwrap(), *name);
    }
}

#[test]
fn the_numbers_of_constants_are_those_of_the_contract_and_there_are_no_others() {
    /// What names begin with, the number of the first of them, and those that are counted on from there.
    const CONSTANTS: &[(&str, u32, &str)] = &[
        (
            "",
            0,
            "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED \
             RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS \
             UNAUTHENTICATED",
        ),
        (
            "",
            100,
            "CONNECTION_FAILED CONNECTION_LOST TLS_FAILED PROTOCOL_ERROR VERSION_DISCOVERY_FAILED COMPACTED LEASE_EXPIRED \
             FORKED CLOSED IO REVISION_REGRESSED CLUSTER_MISMATCH",
        ),
        ("", 199, "INTERNAL_PANIC"),
        (
            "REASON_",
            0,
            "OTHER COMPACTED FUTURE_REVISION LEASE_NOT_FOUND LEASE_EXISTS KEY_NOT_FOUND EMPTY_KEY DUPLICATE_KEY \
             TOO_MANY_OPS REQUEST_TOO_LARGE NO_SPACE NO_LEADER NOT_LEADER LEADER_CHANGED TIMEOUT TOO_MANY_REQUESTS \
             AUTH_FAILED INVALID_TOKEN OLD_AUTH_REVISION AUTH_NOT_ENABLED USER_NOT_FOUND ROLE_NOT_FOUND \
             MEMBER_NOT_FOUND LEARNER CORRUPT",
        ),
        ("EVENT_", 0, "PUT DELETE"),
        ("", 0, "EQUAL GREATER LESS NOT_EQUAL"),
        ("SORT_", 0, "NONE ASCEND DESCEND"),
        ("SORT_BY_", 0, "KEY VERSION CREATE MOD VALUE"),
        ("WATCH_", 1, "EVENTS PROGRESS DISCONNECTED RESUMED ENDED"),
        ("SOURCE_", 1, "WATCH KEEPALIVE SESSION ELECTION MIRROR"),
        ("MIRROR_", 1, "EVENTS REBUILT ENDED"),
        ("TXN_", 1, "PUT GET DELETE TXN"),
        ("STM_", 0, "SERIALIZABLE_SNAPSHOT SERIALIZABLE REPEATABLE_READS READ_COMMITTED"),
        ("PERMISSION_", 0, "READ WRITE READWRITE"),
        ("ALARM_", 0, "NONE NOSPACE CORRUPT"),
        ("LOG_", 1, "ERROR WARN INFO DEBUG TRACE"),
        ("DOWNGRADE_", 0, "VALIDATE ENABLE CANCEL"),
        ("WEBSOCKET_", 0, "AUTO NEVER ALWAYS"),
    ];
    let numbered = |(prefix, first, names): &(&str, u32, &str)| {
        let names = names.split_whitespace().zip(*first..);
        names.map(|(name, number)| format!("#define ETCDGW_{prefix}{name} {number}")).collect::<Vec<_>>()
    };
    let mut wanted: Vec<String> = CONSTANTS.iter().flat_map(numbered).collect();
    let header = header();
    let is_number = |line: &&str| {
        let words: Vec<_> = line.split(' ').collect();
        matches!(words[..], ["#define", name, number]
            if !name.starts_with("ETCDGW_VERSION_M") && name != "ETCDGW_VERSION_PATCH" && number.parse::<u32>().is_ok())
    };
    let mut found: Vec<_> = header.lines().filter(is_number).map(str::to_owned).collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}
