//! Rows of a table in a dump of SQL or in CSV.
//!
//! Owns: reading `COPY … FROM stdin` of pg_dump, `INSERT INTO` of pg_dump, mysqldump and sqlite3,
//! and CSV with a head line (RFC 4180). No statement is understood beyond its values: what is
//! neither text nor number nor NULL counts as its own text.

use std::collections::HashMap;

/// One row by column; what is NULL is not there.
pub(super) type Row = HashMap<String, String>;

/// The rows of `table` in a dump, or of a CSV file.
///
/// # Errors
///
/// Neither is recognised, or a line of CSV has another number of fields than its head.
pub(super) fn read(text: &str, table: &str) -> Result<Vec<Row>, String> {
    let mut columns = created(text, table);
    let mut rows = Vec::new();
    let mut rest = text;
    let mut is_dump = false;
    while let Some(line_end) = rest.find('\n').or(Some(rest.len())).filter(|_| !rest.is_empty()) {
        let line = &rest[..line_end];
        let after = rest.get(line_end + 1..).unwrap_or_default();
        let word = |text: &str| text.trim_start().to_ascii_uppercase();
        if word(line).starts_with("COPY ") && names(line, table) {
            is_dump = true;
            columns = listed(line).unwrap_or(columns);
            let end = after.find("\\.\n").unwrap_or(after.len());
            rows.extend(after[..end].lines().map(|line| copied(line, &columns)));
            rest = &after[end..];
        } else if word(line).starts_with("INSERT ") && names(line, table) {
            is_dump = true;
            let used = listed(line.split("VALUES").next().unwrap_or_default());
            let (found, length) = values(rest);
            let used = used.as_ref().unwrap_or(&columns);
            rows.extend(found.into_iter().map(|values| {
                let pairs = used.iter().cloned().zip(values);
                pairs.filter_map(|(column, value)| Some((column, value?))).collect::<Row>()
            }));
            rest = rest.get(length..).unwrap_or_default();
        } else {
            rest = after;
        }
    }
    if is_dump { Ok(rows) } else { csv(text) }
}

/// True where the statement is about the table.
fn names(line: &str, table: &str) -> bool {
    let words = line.split([' ', '(', '.', '"', '`', '[', ']', '\t']);
    words.take(8).any(|word| word == table)
}

/// The names in the first parentheses.
fn listed(text: &str) -> Option<Vec<String>> {
    let (_, rest) = text.split_once('(')?;
    let (inner, _) = rest.split_once(')')?;
    let bare = |name: &str| name.trim().trim_matches(['"', '`', '[', ']']).to_owned();
    Some(inner.split(',').map(bare).collect())
}

/// The columns that `CREATE TABLE` names, for inserts that name none.
fn created(text: &str, table: &str) -> Vec<String> {
    let mut lines = text.lines();
    let is_start = |line: &&str| {
        line.trim_start().to_ascii_uppercase().starts_with("CREATE TABLE") && names(line, table)
    };
    if lines.by_ref().find(is_start).is_none() {
        return Vec::new();
    }
    let body = lines.take_while(|line| !line.trim_start().starts_with(')'));
    let first = body.filter_map(|line| line.split_whitespace().next());
    let keys = ["PRIMARY", "KEY", "UNIQUE", "CONSTRAINT", "FOREIGN", "CHECK", "INDEX"];
    let columns = first.filter(|word| !keys.contains(&word.to_ascii_uppercase().as_str()));
    columns.map(|word| word.trim_matches(['"', '`', ',']).to_owned()).collect()
}

/// One line of COPY: fields between tabs, `\N` for NULL (COPY of PostgreSQL, text format).
fn copied(line: &str, columns: &[String]) -> Row {
    let fields = line.split('\t').map(|field| (field != "\\N").then(|| unescaped(field)));
    let pairs = columns.iter().cloned().zip(fields);
    pairs.filter_map(|(column, value)| Some((column, value?))).collect()
}

fn unescaped(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        out.push(match characters.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(other) => other,
            None => '\\',
        });
    }
    out
}

/// The tuples of an INSERT that begins here, and its length.
fn values(text: &str) -> (Vec<Vec<Option<String>>>, usize) {
    let upper_at = text.find("VALUES").or_else(|| text.find("values"));
    let mut at = upper_at.map_or(text.len(), |at| at + "VALUES".len());
    let mut tuples = Vec::new();
    let bytes = text.as_bytes();
    // mysqldump escapes, and writes names so; standard strings have no escapes.
    let escapes = text[..at].contains('`');
    while at < bytes.len() && bytes[at] != b';' {
        if bytes[at] == b'(' {
            let (tuple, end) = tuple(text, at + 1, escapes);
            tuples.push(tuple);
            at = end;
        } else {
            at += 1;
        }
    }
    (tuples, at)
}

/// The values up to the closing parenthesis, and where it ends.
fn tuple(text: &str, from: usize, escapes: bool) -> (Vec<Option<String>>, usize) {
    let mut values = Vec::new();
    let mut bare = String::new();
    let mut quoted: Option<String> = None;
    let mut characters = text[from..].char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' => {
                // PostgreSQL marks what has escapes with an E before it.
                let escapes = escapes || bare.trim().eq_ignore_ascii_case("e");
                let mut value = String::new();
                while let Some((_, character)) = characters.next() {
                    match character {
                        '\'' if characters.peek().is_some_and(|(_, next)| *next == '\'') => {
                            characters.next();
                            value.push('\'');
                        }
                        '\'' => break,
                        '\\' if escapes => match characters.next() {
                            Some((_, 'n')) => value.push('\n'),
                            Some((_, 'r')) => value.push('\r'),
                            Some((_, other)) => value.push(other),
                            None => {}
                        },
                        other => value.push(other),
                    }
                }
                quoted = Some(value);
            }
            ',' | ')' => {
                let word = std::mem::take(&mut bare);
                let word = word.trim();
                let null = word.eq_ignore_ascii_case("null");
                values.push(quoted.take().or_else(|| (!null).then(|| word.to_owned())));
                if character == ')' {
                    return (values, from + at + 1);
                }
            }
            other => bare.push(other),
        }
    }
    (values, text.len())
}

/// CSV with a head line; an empty field is NULL.
fn csv(text: &str) -> Result<Vec<Row>, String> {
    let mut records = records(text).into_iter();
    let head = records.next().unwrap_or_default();
    if head.len() < 2 {
        return Err("is neither a dump of SQL with that table nor CSV with a head line".to_owned());
    }
    let mut rows = Vec::new();
    for (number, record) in records.enumerate() {
        if record.len() != head.len() {
            let (found, wanted) = (record.len(), head.len());
            return Err(format!("record {}: {found} fields; the head has {wanted}", number + 1));
        }
        let pairs = head.iter().cloned().zip(record);
        rows.push(pairs.filter(|(_, value)| !value.is_empty()).collect());
    }
    Ok(rows)
}

fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut characters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            other => field.push(other),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records.retain(|record| record.iter().any(|field| !field.is_empty()));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(row: &'a Row, column: &str) -> Option<&'a str> {
        row.get(column).map(String::as_str)
    }

    #[test]
    fn a_dump_by_copy_is_read_with_its_escapes() {
        let dump = "COPY public.other (id) FROM stdin;\n1\n\\.\n\
            COPY public.items (id, \"maxAlertCount\", name) FROM stdin;\n\
            1\t\\N\ta\\tb\\\\c\n2\t5\tx\n\\.\n";
        let rows = read(dump, "items").unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(get(&rows[0], "name"), Some("a\tb\\c"));
        assert_eq!(get(&rows[0], "maxAlertCount"), None);
        assert_eq!(get(&rows[1], "maxAlertCount"), Some("5"));
    }

    #[test]
    fn inserts_of_several_rows_with_and_without_columns_are_read() {
        let dump = "CREATE TABLE `items` (\n  `id` int NOT NULL,\n  `name` text,\n\
            \x20 PRIMARY KEY (`id`)\n);\n\
            INSERT INTO `items` VALUES (1,'it''s; (a) \\'b\\''),(2,NULL);\n\
            INSERT INTO public.items (name, id) VALUES ('two\nlines', 3);\n\
            INSERT INTO items_more (name, id) VALUES ('no', 4);\n";
        let rows = read(dump, "items").unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(get(&rows[0], "name"), Some("it's; (a) 'b'"));
        assert_eq!((get(&rows[1], "id"), get(&rows[1], "name")), (Some("2"), None));
        assert_eq!((get(&rows[2], "id"), get(&rows[2], "name")), (Some("3"), Some("two\nlines")));
    }

    #[test]
    fn a_backslash_of_a_standard_string_is_itself_and_of_an_escaped_one_is_not() {
        let dump = "INSERT INTO \"items\" VALUES(1,'C:\\new\\');\n\
            INSERT INTO items (id, name) VALUES (2, E'a\\nb');\n";
        let columns =
            format!("CREATE TABLE \"items\" (\n  \"id\" int,\n  \"name\" text\n);\n{dump}");
        let rows = read(&columns, "items").unwrap();
        assert_eq!(get(&rows[0], "name"), Some("C:\\new\\"));
        assert_eq!((get(&rows[1], "id"), get(&rows[1], "name")), (Some("2"), Some("a\nb")));
    }

    #[test]
    fn csv_with_quotes_and_line_breaks_is_read() {
        let rows = read("id,name\r\n1,\"a, \"\"b\"\"\nc\"\r\n2,\r\n\n", "items").unwrap();
        assert_eq!((get(&rows[0], "name"), get(&rows[1], "name")), (Some("a, \"b\"\nc"), None));
        assert!(read("id,name\n1\n", "items").unwrap_err().starts_with("record 1: 1 fields"));
        assert!(read("just text", "items").is_err() && read("", "items").is_err());
    }
}
