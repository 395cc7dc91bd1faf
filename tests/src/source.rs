//! The repository's own sources, as the tests of its shape read them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

use crate::guests::root;

/// What is made, fetched or kept by tools and never part of the repository.
const NOT_OURS: [&str; 4] = [".git", ".millstream", "node_modules", "target"];

/// Every file below a directory of the repository, as paths from the root.
pub fn files(below: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![root().join(below)];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.is_file() && path.file_name() != Some(".git".as_ref()) {
                found.push(path.strip_prefix(root())?.to_owned());
            } else if path.is_dir() && !NOT_OURS.iter().any(|name| path.ends_with(name)) {
                left.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The Rust files below a directory.
pub fn rust_files(below: &str) -> Result<Vec<PathBuf>> {
    Ok(files(below)?.into_iter().filter(|file| file.extension() == Some("rs".as_ref())).collect())
}

/// A file of the repository as text; nothing when it is not text.
pub fn text(file: &Path) -> Result<Option<String>> {
    let bytes = std::fs::read(root().join(file)).with_context(|| file.display().to_string())?;
    Ok(String::from_utf8(bytes).ok())
}

/// A word or sign of a Rust file. Comments and the insides of literals are gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A Rust file as a flat run of its tokens; `::` is one of them.
pub fn tokens(file: &Path) -> Result<Vec<Token>> {
    let text = text(file)?.with_context(|| format!("{} is not text", file.display()))?;
    tokens_of(&text).with_context(|| file.display().to_string())
}

/// A text as its tokens.
pub fn tokens_of(text: &str) -> Result<Vec<Token>> {
    let stream = TokenStream::from_str(text).map_err(|error| anyhow!("{error}"))?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    Ok(tokens)
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: String| tokens.push(Token { text, line });
        match tree {
            TokenTree::Ident(word) => push(word.to_string()),
            TokenTree::Literal(_) => push("\"\"".to_owned()),
            TokenTree::Punct(sign) if sign.as_char() == ':' => match tokens.last_mut() {
                Some(last) if last.text == ":" => last.text.push(':'),
                _ => tokens.push(Token { text: ":".to_owned(), line }),
            },
            TokenTree::Punct(sign) => push(sign.as_char().to_string()),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                push(open.to_owned());
                flatten(group.stream(), tokens);
                let line = group.span_close().start().line;
                tokens.push(Token { text: close.to_owned(), line });
            }
        }
    }
}

/// The blocks of a page that are marked with this language, in order.
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut parts = page.split("\n```");
    let begins = |part: &&str| part.starts_with(language) && part[language.len()..].starts_with('\n');
    parts.by_ref().skip(1).step_by(2).filter(begins).map(|part| part[language.len() + 1..].to_owned() + "\n").collect()
}
