//! `engine token`: tokens with which programs use the API.
//!
//! Owns: the texts. A token is shown once, when it is made; a running engine knows it, or knows it
//! no more, at once.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use serde_json::{Value, json};

use crate::api::v1::tokens::{Scope, Token, TokenError, Tokens};
use crate::cli::style::{Style, printable, rfc3339};
use crate::cli::table::{self, Cell, Column};
use crate::cli::{exit, look};
use crate::clock::wall_millis;

/// Flags of `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do with tokens.
    #[command(subcommand)]
    pub command: TokenCommand,
    /// Folder of the engine's data [default: as for start]
    #[arg(long, global = true, value_name = "DIR", env = "ENGINE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it: it is kept hashed and cannot be shown again
    Add {
        /// What to call it
        name: String,
        /// What it may do: look, change monitors too, or all there is
        #[arg(long, value_name = "SCOPE", value_parser = scopes(), default_value = "read")]
        scope: Scope,
    },
    /// Show names and scopes
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a token: it lets nobody in from now on
    Rm {
        /// Its name
        name: String,
    },
}

fn scopes() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(Scope::ALL.map(Scope::name)).try_map(|name| {
        Scope::ALL.into_iter().find(|scope| scope.name() == name).ok_or("not a scope")
    })
}

const COLUMNS: [Column; 3] =
    [Column::shrinking("NAME"), Column::left("SCOPE"), Column::left("MADE")];

/// Does it; returns the exit code.
pub fn run(args: &TokenArgs, style: &Style) -> u8 {
    let tokens = Tokens::of_folder(&look::folder(&args.data_dir));
    match text(&tokens, &args.command, style) {
        Ok(text) => {
            println!("{}", text.trim_end());
            exit::OK
        }
        Err(error) => {
            eprintln!("error: {error}");
            exit::DOWN
        }
    }
}

fn text(tokens: &Tokens, command: &TokenCommand, style: &Style) -> Result<String, TokenError> {
    match command {
        TokenCommand::Add { name, scope } => tokens.add(name, *scope, wall_millis()),
        TokenCommand::List { json } => {
            let tokens = tokens.list()?;
            Ok(if *json { as_json(&tokens) } else { table(&tokens, style) })
        }
        TokenCommand::Rm { name } if tokens.remove(name)? => {
            Ok(format!("removed {}", printable(name)))
        }
        TokenCommand::Rm { name } => Err(TokenError::Name {
            name: name.clone(),
            problem: "is no token; `engine token list` shows them".to_owned(),
        }),
    }
}

/// Without the hashes: nobody needs them.
fn as_json(tokens: &[Token]) -> String {
    let shown = tokens.iter().map(
        |token| json!({ "name": token.name, "scope": token.scope, "created_ms": token.created_ms }),
    );
    Value::from(shown.collect::<Vec<_>>()).to_string()
}

fn table(tokens: &[Token], style: &Style) -> String {
    if tokens.is_empty() {
        return "no tokens".to_owned();
    }
    let row = |token: &Token| -> Vec<Cell> {
        let made = rfc3339(token.created_ms);
        vec![token.name.as_str().into(), token.scope.name().into(), made.into()]
    };
    table::render(&COLUMNS, &tokens.iter().map(row).collect::<Vec<_>>(), style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_listed_without_its_hash_and_removed() {
        let place = tempfile::tempdir().unwrap();
        let tokens = Tokens::of_folder(place.path());
        let run = |command| text(&tokens, &command, &Style::plain());
        let name = || "grafana".to_owned();
        let token = run(TokenCommand::Add { name: name(), scope: Scope::Write }).unwrap();
        assert!(token.starts_with("eng_") && token.len() == 47, "{token}");
        let shown = run(TokenCommand::List { json: false }).unwrap();
        assert!(shown.contains("grafana  write  20"), "{shown}");
        let shown = run(TokenCommand::List { json: true }).unwrap();
        assert!(shown.contains("\"scope\":\"write\"") && !shown.contains("sha256"), "{shown}");
        assert_eq!(run(TokenCommand::Rm { name: name() }).unwrap(), "removed grafana");
        let error = run(TokenCommand::Rm { name: name() }).unwrap_err().to_string();
        assert!(error.contains("engine token list"), "{error}");
        assert_eq!(run(TokenCommand::List { json: false }).unwrap(), "no tokens");
    }
}
