//! Commits that user code asks for.

use tests::application::{Application, Input};
use tests::logs::{each_log, eventually};

/// Nothing but what a punctuation asks for would be committed while this test runs.
const MANIFEST: &str = "guarantee = \"at-least-once\"\ncommit_interval = \"1h\"\n[changelog]\n\
    topic_configs = { \"retention.ms\" = \"-1\" }\n[config.topology]\nkind = \"walk\"\ninterval = 10\nrows = 10\n";

#[test]
fn what_user_code_asks_for_is_committed_ahead_of_the_interval() {
    each_log(|log| {
        let application = Application::new(log, "tests/guests/cases", MANIFEST, &[]);
        let app = application.start();
        let input = [(application.topic("in"), 0)];
        for (sent, at) in (1..).zip([0, 20, 40]) {
            application.produce(&[Input::at(at, "in").key("key").value("value")]);
            eventually("its punctuation has it committed", || {
                let committed = log.log.committed(application.id(), &input).expect("the log answers");
                committed[0].as_ref().is_some_and(|committed| committed.offset == sent).then_some(())
            });
        }
        app.stop(false).unwrap();
    });
}
