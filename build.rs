//! Writes `include/etcdgw.h` from `src/ffi/`, and tells the linker how the shared object is called.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The files of `src/ffi/` that C sees something of, in the order in which the header has it.
const SOURCES: &[&str] = &[
    "bytes",
    "constants",
    "error",
    "version",
    "options",
    "client_options",
    "client",
    "response",
    "kv_options",
    "kv_response",
    "kv",
    "scan",
    "txn",
    "txn_response",
    "stm",
    "lease",
    "watch_options",
    "watch_response",
    "watch",
    "queue",
    "mirror_event",
    "mirror",
    "keepalive",
    "session",
    "mutex",
    "rwlock",
    "election",
    "lock",
    "barrier",
    "double_barrier",
    "workqueue",
    "fencing",
    "cluster",
    "maintenance",
    "alarm",
    "downgrade",
    "snapshot",
    "auth",
    "user",
    "role",
    "raw",
    "stats",
];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=src/ffi");
    println!("cargo::rerun-if-changed=cbindgen.toml");
    println!("cargo::rerun-if-changed=include/etcdgw.h");
    name_the_shared_object()?;
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let header = generate(&root)?;
    let path = root.join("include/etcdgw.h");
    // Not touched where nothing changed: packaged sources may be read-only, and make compares times.
    if fs::read(&path).ok().as_deref() != Some(&header) {
        fs::create_dir_all(root.join("include"))?;
        fs::write(&path, header)?;
    }
    Ok(())
}

fn name_the_shared_object() -> Result<()> {
    if env::var("CARGO_CFG_TARGET_OS")? != "linux" {
        return Ok(());
    }
    // Before 1.0 a minor version may break its users, and its number is part of the name.
    let (major, minor) = (env::var("CARGO_PKG_VERSION_MAJOR")?, env::var("CARGO_PKG_VERSION_MINOR")?);
    let version = if major == "0" { format!("{major}.{minor}") } else { major };
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libetcdgw.so.{version}");
    // Threads and TLS destructors of the library would outlive its code.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    Ok(())
}

fn generate(root: &Path) -> Result<Vec<u8>> {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    let macros = [config.after_includes.unwrap_or_default(), option_macros(root)?, version_macros()?].concat();
    config.after_includes = Some(macros);
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(source_path(root, source));
    }
    let mut header = Vec::new();
    builder.generate()?.write(&mut header);
    Ok(with_short_comments(&String::from_utf8(header)?).into_bytes())
}

/// Puts a comment of one line on one line; cbindgen takes three.
fn with_short_comments(header: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in header.lines() {
        match lines.as_mut_slice() {
            [.., begin, text] if line.trim() == "*/" && begin.trim() == "/**" => {
                *begin = format!("{begin} {} */", text.trim().trim_start_matches("* "));
                lines.pop();
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

fn source_path(root: &Path, stem: &str) -> PathBuf {
    root.join("src/ffi").join(stem).with_extension("rs")
}

/// `ETCDGW_X_OPTIONS_INIT` for every `etcdgw_x_options`.
fn option_macros(root: &Path) -> Result<String> {
    let mut macros = String::new();
    for source in SOURCES {
        let text = fs::read_to_string(source_path(root, source))?;
        let structs = text.lines().filter_map(|line| line.strip_prefix("pub struct ")?.strip_suffix(" {"));
        for name in structs.filter(|name| name.ends_with("_options")) {
            let macro_name = name.to_uppercase();
            macros += &format!("\n/** Initialises an {name}: everything at its default. */\n");
            macros += &format!("#define {macro_name}_INIT ETCDGW_OPTIONS_INIT_({name})\n");
        }
    }
    Ok(macros)
}

/// The version of `Cargo.toml`, for programs that are compiled against the header.
fn version_macros() -> Result<String> {
    let version = env::var("CARGO_PKG_VERSION")?;
    let mut macros = "\n/** The version of this header; etcdgw_version tells that of the library. */\n".to_owned();
    macros += &format!("#define ETCDGW_VERSION \"{version}\"\n");
    for part in ["MAJOR", "MINOR", "PATCH"] {
        let number = env::var(format!("CARGO_PKG_VERSION_{part}"))?;
        macros += &format!("#define ETCDGW_VERSION_{part} {number}\n");
    }
    // Without a cast, which the preprocessor does not know: `#if` compares it, too.
    macros += "#define ETCDGW_VERSION_NUMBER \\\n";
    macros += "  (0u + (ETCDGW_VERSION_MAJOR << 16 | ETCDGW_VERSION_MINOR << 8 | ETCDGW_VERSION_PATCH))";
    Ok(macros)
}
