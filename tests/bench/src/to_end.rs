//! An application that reads its topics to their end, and what it sends itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use millstream::app::{App, Loaded, Options};
use millstream::log::Log;

use crate::count::{Line, TOLD_WITHIN};
use crate::meter::Metered;

/// How often the end is looked for, which asks the log for the ends of all topics; when it was is noted by commits.
const LOOK: Duration = Duration::from_millis(500);

/// Runs it. Wall and CPU run from the first record of any input to the commit behind which nothing is left to be read.
pub fn until_end(loaded: &Loaded, log: Arc<dyn Log>, options: &Options, records: u64) -> Result<Line> {
    let metered = Arc::new(Metered::new(log, "", BTreeMap::new()));
    let app = App::start(loaded, metered.clone(), options).map_err(|problem| anyhow!("{problem}"))?;
    while !app.is_at_end().map_err(|problem| anyhow!("{problem}"))? {
        if app.has_ended() {
            app.stop(false).map_err(|problem| anyhow!("{problem}"))?;
            return Err(anyhow!("the application ended before its input"));
        }
        std::thread::sleep(LOOK);
    }
    let (first, last, anon_rss_mib) = {
        let notes = metered.notes();
        (notes.first_of_all, notes.last_commit, notes.anon_rss_mib)
    };
    std::thread::sleep(TOLD_WITHIN);
    let counters = app.handle().counters();
    app.stop(false).map_err(|problem| anyhow!("{problem}"))?;
    let (Some(first), Some(last)) = (first, last) else { return Err(anyhow!("no record was taken")) };
    Ok(Line::of(records, first, last.at, last.cpu, anon_rss_mib, &counters))
}
