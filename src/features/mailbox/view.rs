//! HTML pages of the mailbox, from templates that escape every value.

use minijinja::value::Serde;
use minijinja::{Environment, context};

use super::model::{Mails, View};
use crate::providers::email::mailbox_store::Kept;

const TEMPLATES: [(&str, &str); 3] = [
    ("frame.html", include_str!("templates/frame.html")),
    ("list.html", include_str!("templates/list.html")),
    ("mail.html", include_str!("templates/mail.html")),
];

/// Opens links of a mail in a new tab, because most pages refuse to be framed.
const BASE: &str = r#"<base target="_blank">"#;

pub fn list(app_name: &str, to: Option<&str>, mails: &Mails) -> anyhow::Result<String> {
    let rows: Vec<_> = mails
        .items
        .iter()
        .map(|mail| {
            context! {
                id => mail.id.as_str(),
                at => at(mail),
                to => mail.to.as_str(),
                subject => mail.subject.as_str(),
                error => mail.error.as_deref(),
                open => mail.is_open(),
            }
        })
        .collect();
    render("list.html", context! { app_name => app_name, to => to, rows => rows, total => mails.total })
}

pub fn one(app_name: &str, mail: &Kept, view: View) -> anyhow::Result<String> {
    let page = match view {
        View::Html => format!("{BASE}{}", mail.html),
        View::Text => mail.text.clone(),
        View::Source => mail.html.clone(),
    };
    render("mail.html", context! { app_name => app_name, mail => Serde(mail), at => at(mail), view => Serde(view), page => page })
}

fn at(mail: &Kept) -> String {
    mail.at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn render(name: &str, values: minijinja::Value) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment.get_template(name)?.render(values)?)
}
