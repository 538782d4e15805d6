//! What the README shows is true: its configs are accepted as they are.

use natgate::config;

/// The TOML blocks of the README.
fn blocks() -> Vec<String> {
    let readme = include_str!("../README.md");
    let blocks = readme.split("```toml\n").skip(1);
    blocks.filter_map(|block| block.split_once("```")).map(|(text, _)| text.to_owned()).collect()
}

#[test]
fn every_config_in_the_readme_is_valid_without_a_warning() {
    let blocks = blocks();
    assert!(!blocks.is_empty());
    for text in blocks {
        let checked = config::parse(&text, "README.md").expect("the config is valid");
        assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    }
}

#[test]
fn the_first_config_has_five_lines() {
    assert_eq!(blocks().first().expect("there is one").lines().count(), 5);
}

#[test]
fn the_rust_version_in_the_readme_is_that_of_the_package() {
    assert!(
        include_str!("../README.md").contains(&format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION")))
    );
}
