//! `dev DIR`: build, feed, run, watch, and again.
//!
//! | file | holds |
//! |---|---|
//! | `feed` | the topics of `[dev]` and what an application needs, made and filled once |
//! | `watch` | which changes of the project are worth a build |
//! | `session` | what runs, what ran before it, what is being built |
//! | `picture` | what the one at the screen sees |

mod feed;
mod picture;
mod session;
mod watch;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use millstream_engine::error::Problem;

use super::http::{self, HttpFlags};
use super::interrupt::Interrupt;
use super::output::{self, Output, say};
use super::{Global, Result};
use crate::api::Server;
use crate::app::{Application, DEFAULT_LOG, Handle, Options};
use crate::log::{self, Log};
use picture::{Picture, Screen};
use session::{Session, Turn};
use watch::Watch;

/// How late a signal, a change or the end may be seen.
const TURN: Duration = Duration::from_millis(50);

/// How often the picture is made anew: often enough to look alive, seldom enough to cost nothing.
const PICTURE_EVERY: Duration = Duration::from_millis(500);

/// How long the last picture waits for threads to tell how they are: they do ten times a second, unless the machine is
/// overloaded.
const REFRESH_DEADLINE: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct Dev {
    /// The plugin project, with or without an app.toml
    dir: PathBuf,
    /// End when everything that was fed is processed and committed
    #[arg(long)]
    until_end: bool,
    /// Where the application keeps its state; default: the manifest's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Run although what is renamed or removed leaves state, or records that were not read, behind
    #[arg(long)]
    allow_orphaned_state: bool,
    #[command(flatten)]
    http: HttpFlags,
    #[command(flatten)]
    output: Output,
}

impl Dev {
    pub fn run(self, global: &Global) -> Result {
        let interrupt = Interrupt::watch_all()?;
        let address = self.http.bind()?;
        let application = global.application(&self.dir)?;
        let log = open_log(&application, global)?;
        say(format_args!("{} on {}", application.manifest.id, log.url()));
        feed::feed(&*log, &application)?;
        // From here on, a change is not missed while the first build runs.
        let watch = Watch::start(&self.dir)?;
        let engine = global.engine(std::slice::from_ref(&application))?;
        let id = &application.manifest.id;
        let (state_dir, allow_orphaned_state) = (self.state_dir.clone(), self.allow_orphaned_state);
        // Who tries things out throws topics away; what is kept of them is thrown away by hand too.
        let allow_recreated_topics = true;
        let options = Options { state_dir, allow_orphaned_state, allow_recreated_topics, ..Options::default() };
        let mut session = Session::new(engine, self.dir.clone(), id, log.clone(), options);
        session.rebuild();
        let state_dir = application.state_dir(self.state_dir.as_deref());
        // The socket lies in the state directory, which belongs to whoever runs.
        let serve = |handle: &Handle| http::serve(std::slice::from_ref(handle), &[state_dir], address);
        self.go_on(session, &watch, &interrupt, &*log, serve)
    }

    fn go_on(
        &self,
        mut session: Session,
        watch: &Watch,
        interrupt: &Interrupt,
        log: &dyn Log,
        serve: impl FnOnce(&Handle) -> std::result::Result<Server, Problem>,
    ) -> Result {
        let (mut serve, mut server) = (Some(serve), None);
        let mut screen = Screen::new();
        let mut last = Instant::now();
        let ended = loop {
            std::thread::sleep(TURN);
            if interrupt.came() {
                break Ok(());
            }
            if !self.until_end && watch.has_changed() {
                session.rebuild();
            }
            match session.turn() {
                Turn::Quiet => {}
                Turn::Said(text) => screen.say(&text),
                Turn::Failed(problem) if self.until_end => break Err(problem),
                Turn::Failed(problem) => screen.say(&super::error::text(&problem.to_json())),
            }
            if session.plan().is_some()
                && let Some(serve) = serve.take()
            {
                match serve(session.handle()) {
                    Ok(serving) => server = Some(serving),
                    Err(problem) => break Err(problem),
                }
            }
            if self.until_end && session.is_at_end()? {
                break Ok(());
            }
            if last.elapsed() >= PICTURE_EVERY {
                last = Instant::now();
                if let Some(plan) = session.plan() {
                    screen.show(&Picture::of(session.handle(), plan, log)?, session.is_building());
                }
            }
        };
        screen.clear();
        if !session.has_ended() {
            session.handle().refresh(REFRESH_DEADLINE);
        }
        let picture = session.plan().map(|plan| Picture::of(session.handle(), plan, log)).transpose()?;
        let stopped = session.stop();
        drop(server);
        if let Some(picture) = picture {
            output::object(self.output.format, &picture, || picture.text())?;
        }
        Ok(ended.and(stopped)?)
    }
}

/// `dev` does not touch a cluster unless it is told to: a Kafka log in the manifest is not meant for it.
fn open_log(application: &Application, global: &Global) -> Result<std::sync::Arc<dyn Log>> {
    let kafka = application.manifest.log.as_deref().is_some_and(|url| url.starts_with("kafka:"));
    if global.log.is_none() && kafka {
        let options = log::Options { base: Some(application.dir.clone()), ..log::Options::default() };
        return Ok(log::open(DEFAULT_LOG, &options)?);
    }
    global.open_log_of(application)
}
