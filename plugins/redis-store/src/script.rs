//! The scripts that run inside the server, one for each call: what one does happens as a whole or not at all.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Open,
    Position,
    Get,
    Scan,
    Apply,
    Size,
    Wipe,
}

impl Script {
    pub const ALL: [Script; 7] =
        [Script::Open, Script::Position, Script::Get, Script::Scan, Script::Apply, Script::Size, Script::Wipe];

    /// Its source.
    pub fn text(self) -> &'static str {
        match self {
            Script::Open => include_str!("scripts/open.lua"),
            Script::Position => concat!(include_str!("scripts/held.lua"), include_str!("scripts/position.lua")),
            Script::Get => concat!(include_str!("scripts/held.lua"), include_str!("scripts/get.lua")),
            Script::Scan => concat!(include_str!("scripts/held.lua"), include_str!("scripts/scan.lua")),
            Script::Apply => concat!(include_str!("scripts/held.lua"), include_str!("scripts/apply.lua")),
            Script::Size => concat!(include_str!("scripts/held.lua"), include_str!("scripts/size.lua")),
            Script::Wipe => include_str!("scripts/wipe.lua"),
        }
    }
}
