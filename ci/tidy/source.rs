//! A file of the tree as the rules read it: its text, and its code without comments and strings.
//!
//! Owns: a scanner that knows just enough of Rust's lexical structure (Rust Reference, chapter
//! "Lexical structure") to tell code from words. It keeps every line break, so that line numbers
//! of text and code are the same.

/// One text file of the tree.
pub struct Source {
    /// Path from the root of the tree, with `/`.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// The same lines with comments and the contents of literals blanked; empty where the file is
    /// not Rust.
    pub code: String,
    /// For each line from the first: true inside an item under `#[cfg(test)]`.
    tests: Vec<bool>,
}

impl Source {
    /// Reads `text` as the file at `path`.
    pub fn new(path: &str, text: String) -> Source {
        let code = if path.ends_with(".rs") { blank(&text) } else { String::new() };
        let tests = test_lines(&code);
        Source { path: path.to_string(), text, code, tests }
    }

    /// True where the file starts with `prefix`: a folder with its `/`, or a whole file.
    pub fn is_below(&self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| self.path.starts_with(prefix))
    }

    /// True for a file that holds tests or benches only.
    pub fn is_test(&self) -> bool {
        let folders = ["tests/", "ci/", "benches/", "examples/", "probes/tests/", "probes/fuzz/"];
        self.is_below(&folders) || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// True where line `number`, counted from 1, is part of a test.
    pub fn is_test_line(&self, number: usize) -> bool {
        self.is_test() || self.tests.get(number - 1).copied().unwrap_or(false)
    }

    /// The line of a place in `code`, counted from 1.
    pub fn line_of(&self, place: usize) -> usize {
        line_of(&self.code, place)
    }
}

/// Places in `text` where `word` stands by itself: not as a part of a longer name.
pub fn places(text: &str, word: &str) -> Vec<usize> {
    let opens = word.starts_with(is_name);
    let closes = word.ends_with(is_name);
    let alone = |at: &usize| {
        let before = text[..*at].chars().next_back().is_some_and(is_name);
        let after = text[*at + word.len()..].chars().next().is_some_and(is_name);
        !(opens && before || closes && after)
    };
    text.match_indices(word).map(|(at, _)| at).filter(alone).collect()
}

/// True for what a name is made of.
pub fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The end of the item that starts at `from`: its closing brace, or its semicolon. Brackets in a
/// signature do not count.
pub fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0usize;
    let mut braces = 0usize;
    for (at, letter) in code[from..].char_indices() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return from + at,
            '}' => braces -= 1,
            ';' if depth == 0 && braces == 0 => return from + at,
            _ => {}
        }
    }
    code.len()
}

fn line_of(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

fn test_lines(code: &str) -> Vec<bool> {
    const MARK: &str = "#[cfg(test)]";
    let mut tests = vec![false; code.lines().count()];
    for (at, _) in code.match_indices(MARK) {
        let last = line_of(code, item_end(code, at + MARK.len()));
        for line in line_of(code, at)..=last.min(tests.len()) {
            tests[line - 1] = true;
        }
    }
    tests
}

/// Where the scanner stands.
enum Mode {
    Code,
    LineComment,
    /// Nested so deep.
    BlockComment(usize),
    /// Ends at a quote.
    Text(char),
    /// Ends at a quote followed by so many `#`.
    RawText(usize),
}

fn blank(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut mode = Mode::Code;
    let mut at = 0;
    while at < letters.len() {
        let (next, taken, shown) = step(mode, &letters, at);
        for letter in &letters[at..at + taken] {
            out.push(if shown || *letter == '\n' { *letter } else { ' ' });
        }
        mode = next;
        at += taken;
    }
    out
}

/// Takes what stands at `at`: the mode after it, its length, and whether it is code.
fn step(mode: Mode, letters: &[char], at: usize) -> (Mode, usize, bool) {
    let letter = letters[at];
    let next = letters.get(at + 1).copied().unwrap_or('\n');
    match mode {
        Mode::Code => open(letters, at),
        Mode::LineComment if letter == '\n' => (Mode::Code, 1, true),
        Mode::BlockComment(1) if (letter, next) == ('*', '/') => (Mode::Code, 2, false),
        Mode::BlockComment(depth) => match (letter, next) {
            ('*', '/') => (Mode::BlockComment(depth - 1), 2, false),
            ('/', '*') => (Mode::BlockComment(depth + 1), 2, false),
            _ => (mode, 1, false),
        },
        Mode::Text(_) if letter == '\\' && at + 1 < letters.len() => (mode, 2, false),
        Mode::Text(quote) if letter == quote => (Mode::Code, 1, true),
        Mode::RawText(hashes) if letter == '"' => {
            let closing = letters[at + 1..].iter().take(hashes).filter(|hash| **hash == '#');
            let closes = closing.count() == hashes;
            if closes { (Mode::Code, 1 + hashes, true) } else { (mode, 1, false) }
        }
        Mode::LineComment | Mode::Text(_) | Mode::RawText(_) => (mode, 1, false),
    }
}

/// Code at `at`, or the opening of a comment or a literal.
fn open(letters: &[char], at: usize) -> (Mode, usize, bool) {
    let letter = letters[at];
    let ahead = |by: usize| letters.get(at + by).copied().unwrap_or('\n');
    let in_name = at > 0 && is_name(letters[at - 1]) && !matches!(letters[at - 1], 'b' | 'c');
    match letter {
        '/' if ahead(1) == '/' => (Mode::LineComment, 2, false),
        '/' if ahead(1) == '*' => (Mode::BlockComment(1), 2, false),
        '"' => (Mode::Text('"'), 1, true),
        // A lifetime has no closing quote after its first letter.
        '\'' if ahead(1) == '\\' || ahead(2) == '\'' => (Mode::Text('\''), 1, true),
        'r' if !in_name => {
            let hashes = (1..).take_while(|by| ahead(*by) == '#').count();
            if ahead(1 + hashes) == '"' {
                (Mode::RawText(hashes), 2 + hashes, true)
            } else {
                (Mode::Code, 1, true)
            }
        }
        _ => (Mode::Code, 1, true),
    }
}
