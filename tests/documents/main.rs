//! The documents hang together: no link leads nowhere, no page and no picture is out of reach; and the whole story runs as it is told.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod story;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files of the root and of `docs`, from the root.
fn pages() -> Vec<PathBuf> {
    let read = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let folder = PathBuf::from(folder);
        entries
            .map(|entry| folder.join(entry.unwrap().file_name()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
            .collect::<Vec<_>>()
    };
    let mut pages = [read(""), read("docs")].concat();
    pages.sort();
    pages
}

/// Where the links of a page lead that are not of the web, from the root; those within a page are left out.
fn links(page: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let link = rest.split_once(')').map_or(rest, |(link, _)| link);
            let link = link.split('#').next().unwrap();
            if !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:") {
                let folder = page.parent().unwrap_or(Path::new(""));
                links.push(plain(&folder.join(link)));
            }
        }
    }
    links
}

/// Without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() > 20, "{pages:?}");
    let links = pages.iter().flat_map(|page| {
        let links = links(page).into_iter();
        links.map(move |link| (page, link))
    });
    let dead: Vec<_> = links
        .filter(|(_, link)| !root().join(link).exists())
        .collect();
    assert!(dead.is_empty(), "{dead:?}");
}

#[test]
fn every_page_is_in_the_readmes_table_and_every_picture_on_a_page() {
    let front: BTreeSet<PathBuf> = links(Path::new("README.md")).into_iter().collect();
    let docs = pages().into_iter().filter(|page| page.starts_with("docs"));
    let unlisted: Vec<_> = docs.filter(|page| !front.contains(page)).collect();
    assert!(unlisted.is_empty(), "{unlisted:?}");
    let shown: BTreeSet<PathBuf> = pages().iter().flat_map(|page| links(page)).collect();
    let pictures = std::fs::read_dir(root().join("docs/images")).unwrap();
    let pictures = pictures.map(|entry| Path::new("docs/images").join(entry.unwrap().file_name()));
    let unused: Vec<_> = pictures
        .filter(|picture| !shown.contains(picture))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn pictures_are_for_light_and_dark_and_for_those_who_do_not_see_them() {
    for entry in std::fs::read_dir(root().join("docs/images")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            let svg = std::fs::read_to_string(&path).unwrap();
            for part in [
                "prefers-color-scheme: dark",
                "role=\"img\" aria-label=\"",
                "viewBox=",
            ] {
                assert!(svg.contains(part), "{} lacks {part}", path.display());
            }
        }
    }
}
