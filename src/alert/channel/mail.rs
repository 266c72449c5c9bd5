//! E-mail by SMTP, in the original's form.
//!
//! Owns: the message (plain and HTML), its receivers, and one account out of several by chance, as
//! in the original. Each mail has its own connection: mails are few.

use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, Message, SmtpTransport, Transport};

use super::super::http::{Failed, Roots};
use super::super::notice::{Event, Notice};
use super::super::words;
use super::{Maker, Send};
use crate::config::channels::{MailTls, Way};
use crate::config::database::Secret;
use crate::limits::ALERT_MAIL_MS;

/// The name that the original's mails carry.
const BRAND: &str = "Ping24";

/// A mail server and who is written to.
pub struct Mail {
    host: String,
    port: u16,
    tls: MailTls,
    roots: Roots,
    accounts: Vec<(String, Secret)>,
    from: Option<String>,
    from_name: String,
    to: Vec<Mailbox>,
    domain: Option<String>,
}

impl Mail {
    /// A mail server as [`Way::Mail`] describes it.
    ///
    /// # Errors
    ///
    /// A secret that is not there, or an address that is none.
    pub fn new(way: &Way, maker: &Maker<'_>) -> Result<Mail, String> {
        let Way::Mail { host, port, tls, accounts, from, from_name, to } = way else {
            return Err("is no mail".to_owned());
        };
        let accounts = accounts
            .iter()
            .map(|account| Ok((account.user.clone(), account.password.find(maker.env)?)))
            .collect::<Result<Vec<_>, String>>()?;
        let to = to.iter().map(|text| mailbox(text)).collect::<Result<_, _>>()?;
        let senders = from.iter().chain(accounts.iter().map(|(user, _)| user));
        for sender in senders.take(1) {
            mailbox(sender)?;
        }
        Ok(Mail {
            host: host.clone(),
            port: *port,
            tls: *tls,
            roots: maker.roots.clone(),
            accounts,
            from: from.clone(),
            from_name: from_name.clone(),
            to,
            domain: maker.domain.clone(),
        })
    }

    fn message(&self, notice: &Notice, account: Option<&str>) -> Result<Message, String> {
        let sender = self.from.as_deref().or(account).unwrap_or_default();
        let sender: Address = sender.parse().map_err(|_| "the sender is no mail address")?;
        let owner = notice.facts.person.as_ref().and_then(|person| person.email.as_deref());
        let to = match owner {
            _ if !self.to.is_empty() => self.to.clone(),
            Some(owner) => vec![mailbox(owner)?],
            None => return Err("the owner of the monitor has no mail address".to_owned()),
        };
        let from = Mailbox::new(Some(self.from_name.clone()), sender.clone());
        let mut message = Message::builder()
            .from(from)
            .reply_to(Mailbox::new(None, sender))
            .subject(subject(notice));
        for receiver in to {
            message = message.to(receiver);
        }
        let lines = lines(notice, self.domain.as_deref());
        let body = MultiPart::alternative_plain_html(plain(notice, &lines), html(notice, &lines));
        message.multipart(body).map_err(|error| error.to_string())
    }

    fn transport(&self, account: Option<&(String, Secret)>) -> Result<SmtpTransport, String> {
        let tls = match self.tls {
            MailTls::None => Tls::None,
            MailTls::Start => Tls::Required(self.tls_parameters()?),
            MailTls::Implicit => Tls::Wrapper(self.tls_parameters()?),
        };
        let mut builder = SmtpTransport::builder_dangerous(&self.host)
            .port(self.port)
            .tls(tls)
            .timeout(Some(Duration::from_millis(ALERT_MAIL_MS)));
        if let Some((user, password)) = account {
            let password = password.reveal().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(builder.build())
    }

    fn tls_parameters(&self) -> Result<TlsParameters, String> {
        let mut builder = TlsParameters::builder(self.host.clone());
        let mut certificates =
            self.roots.ders().filter_map(|der| Certificate::from_der(der.to_vec()).ok()).peekable();
        if certificates.peek().is_some() {
            builder = builder.certificate_store(CertificateStore::None);
        }
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
        builder.build().map_err(|error| error.to_string())
    }
}

impl Send for Mail {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let account = match self.accounts.len() {
            0 => None,
            many => self.accounts.get(crate::alert::http::chance(many)),
        };
        let name = account.map(|(user, _)| user.as_str());
        let message = self.message(notice, name).map_err(Failed::never)?;
        let transport = self.transport(account).map_err(Failed::later)?;
        transport.send(&message).map(|_| ()).map_err(|error| {
            let mut text = error.to_string();
            for (_, password) in &self.accounts {
                text = text.replace(password.reveal(), "***");
            }
            // 5xx at the receiver's name would come again; but a wrong password may be mended.
            let code = error.status().map(u16::from);
            match code {
                Some(550..=554) => Failed::never(text),
                _ => Failed::later(text),
            }
        })
    }
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse()
        .map_err(|_| "an address is no mail address; write it like ops@example.com".to_owned())
}

/// One line without control characters, whatever a name holds.
fn subject(notice: &Notice) -> String {
    let name = &notice.facts.name;
    let subject = match notice.event {
        Event::Down => format!("🚨 ALERT: {name} is DOWN"),
        Event::StillDown => format!("🚨 ALERT: {name} is still DOWN"),
        Event::Up => format!("✅ RECOVERY: {name} is BACK ONLINE"),
        _ => words::title(notice),
    };
    subject.chars().filter(|character| !character.is_control()).take(300).collect()
}

/// Names of fields and their values.
fn lines(notice: &Notice, domain: Option<&str>) -> Vec<(&'static str, String)> {
    if !matches!(notice.event, Event::Down | Event::StillDown | Event::Up) {
        return vec![("", words::text(notice))];
    }
    let facts = &notice.facts;
    let mut lines = vec![("Monitor", facts.name.clone()), ("URL", facts.target.clone())];
    if notice.event == Event::Up {
        lines.push(("Status", "UP".to_owned()));
        lines.push(("Response Time", format!("{:.2}ms", words::millis(notice.total_us))));
    } else {
        lines.push(("Status", "DOWN".to_owned()));
        lines.push(("Error", notice.message.clone()));
    }
    lines.push(("Monitor ID", notice.monitor.to_string()));
    lines.push(("Time", words::local_time(notice.made_ms)));
    if let Some(domain) = domain {
        lines.push(("View details", words::admin_url(domain, notice.monitor)));
    }
    lines
}

fn plain(notice: &Notice, lines: &[(&str, String)]) -> String {
    let mut text = format!("{}\n\n", subject(notice));
    for (name, value) in lines {
        match name.is_empty() {
            true => text += &format!("{value}\n"),
            false => text += &format!("{name}: {value}\n"),
        }
    }
    text + "\n" + BRAND + "\n"
}

fn html(notice: &Notice, lines: &[(&str, String)]) -> String {
    let mut rows = String::new();
    for (name, value) in lines {
        let value = escaped(value).replace('\n', "<br>");
        rows += &format!("<tr><td><b>{name}</b></td><td>{value}</td></tr>\n");
    }
    let title = escaped(&subject(notice));
    format!("<html><body><h2>{title}</h2>\n<table>\n{rows}</table>\n<p>{BRAND}</p></body></html>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_add_a_header_or_markup() {
        let mut notice = Notice::test(0);
        notice.event = Event::Down;
        notice.facts.name = "x\r\nBcc: all@example.com<script>".to_owned();
        assert_eq!(subject(&notice), "🚨 ALERT: xBcc: all@example.com<script> is DOWN");
        let html = html(&notice, &lines(&notice, None));
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{html}");
    }

    #[test]
    fn the_fields_are_the_originals() {
        let mut notice = Notice::test(0);
        notice.event = Event::Up;
        notice.total_us = 1_500;
        let names: Vec<_> = lines(&notice, Some("d")).into_iter().map(|(name, _)| name).collect();
        let wanted =
            ["Monitor", "URL", "Status", "Response Time", "Monitor ID", "Time", "View details"];
        assert_eq!(names, wanted);
    }
}
