//! `engine top`: a running engine watched on a terminal.
//!
//! Owns: the terminal while it is watched, and the thread that asks. Draws what was answered last,
//! so that a slow answer never holds a key up. Where there is no terminal it prints once.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};

use crate::cli::args::TopArgs;
use crate::cli::exit;
use crate::cli::remote::Remote;
use crate::cli::settle::{Refusal, failed};

mod ask;
mod page;
mod screen;

use ask::{Asker, Shown, Wish};
use screen::{Asked, Screen};

/// Time between two looks at the keyboard.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Time between two answers from which rates are known, where only one is printed.
const RATES: Duration = Duration::from_secs(1);

/// Watches the engine; returns the exit code.
pub fn run(args: &TopArgs) -> u8 {
    let wish = Wish {
        text: args.filter.clone().unwrap_or_default(),
        tag: args.tag.clone(),
        verdict: args.verdict,
        ..Wish::default()
    };
    let watched = Remote::of(&(&args.remote).into()).and_then(|remote| {
        let asker = Asker::new(remote);
        match io::stdout().is_terminal() {
            true => watch(asker, wish, args.interval),
            false => print(asker, &wish),
        }
    });
    match watched {
        Ok(()) => exit::OK,
        Err(Refusal { code, text }) => {
            eprintln!("{text}");
            code
        }
    }
}

fn print(mut asker: Asker, wish: &Wish) -> Result<(), Refusal> {
    asker.ask(wish)?;
    std::thread::sleep(RATES);
    print!("{}", screen::plain(&asker.ask(wish)?, wish.sort));
    Ok(())
}

type Answer = Result<Shown, Refusal>;

fn watch(mut asker: Asker, wish: Wish, interval: Duration) -> Result<(), Refusal> {
    // An engine that is not there is told before the terminal is taken.
    let first = asker.ask(&wish)?;
    let (wishes, wished) = channel();
    let (answers, answered) = channel();
    let first_wish = wish.clone();
    std::thread::spawn(move || follow(asker, first_wish, interval, &wished, &answers));
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let screen = Screen::new(wish);
    let ended = show(&mut terminal, screen, first, &wishes, &answered);
    ratatui::try_restore().map_err(failed)?;
    ended.map_err(failed)
}

/// Asks at each new wish and at each interval, until nobody listens.
fn follow(
    mut asker: Asker,
    mut wish: Wish,
    interval: Duration,
    wishes: &Receiver<Wish>,
    answers: &Sender<Answer>,
) {
    loop {
        match wishes.recv_timeout(interval) {
            Ok(new) => wish = wishes.try_iter().last().unwrap_or(new),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if answers.send(asker.ask(&wish)).is_err() {
            return;
        }
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    mut screen: Screen,
    mut shown: Shown,
    wishes: &Sender<Wish>,
    answers: &Receiver<Answer>,
) -> io::Result<()> {
    let mut trouble = None;
    loop {
        if let Some(answer) = answers.try_iter().last() {
            match answer {
                Ok(new) => (shown, trouble) = (new, None),
                Err(Refusal { text, .. }) => trouble = Some(text),
            }
        }
        let mut page = 0;
        terminal.draw(|frame| page = screen.draw(&shown, trouble.as_deref(), frame))?;
        if event::poll(KEY_WAIT)?
            && let Event::Key(key) = event::read()?
        {
            match screen.on_key(key, &shown, page) {
                Asked::Quit => return Ok(()),
                // The thread that asks ends with this function only.
                Asked::Ask => drop(wishes.send(screen.wish.clone())),
                Asked::Draw => {}
            }
        }
    }
}
