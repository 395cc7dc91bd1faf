//! A described topology, ready to run: what one instance of a component holds.

use std::fmt::Display;

use crate::answer::Answer;
use crate::call::{Call, Function};
use crate::chain::{self, Passing};
use crate::config::Config;
use crate::frame::{Frame, Kind};
use crate::topology::Topology;

/// A function that writes a topology: `fn(&mut Topology)` or `fn(&mut Topology, &Config)`, answering nothing or a
/// `Result` whose error is shown to the user.
pub trait Define<Args> {
    fn define(&self, topology: &mut Topology, config: &Config) -> Result<(), String>;
}

impl<F: Fn(&mut Topology) -> R, R: Defined> Define<(R,)> for F {
    fn define(&self, topology: &mut Topology, _config: &Config) -> Result<(), String> {
        self(topology).into_result()
    }
}

impl<F: Fn(&mut Topology, &Config) -> R, R: Defined> Define<(Config, R)> for F {
    fn define(&self, topology: &mut Topology, config: &Config) -> Result<(), String> {
        self(topology, config).into_result()
    }
}

/// What a function that writes a topology may answer.
pub trait Defined {
    fn into_result(self) -> Result<(), String>;
}

impl Defined for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> Defined for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

pub(crate) struct Program {
    description: String,
    /// By node; `None` for what the host runs alone.
    functions: Vec<Option<Function>>,
    /// By node; what may be one of several in one call.
    passing: Vec<Option<Passing>>,
}

impl Program {
    /// `config` is a JSON object as text.
    pub(crate) fn build<Args>(define: &impl Define<Args>, config: &str) -> Result<Program, String> {
        let mut topology = Topology::default();
        define.define(&mut topology, &Config::parse(config)?)?;
        let finished = topology.finish()?;
        let description = serde_json::to_string(&finished.description).map_err(|error| error.to_string())?;
        let passing = finished.description.nodes.iter().map(|node| Passing::of(node.op)).collect();
        Ok(Program { description, functions: finished.functions, passing })
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Runs one node over one frame, or the nodes of a chain, of which `node` is the first. The error fails the whole
    /// call.
    pub(crate) fn process(&mut self, node: u32, frame: &[u8]) -> Result<Vec<u8>, String> {
        let mut answer = Answer::new(frame.len());
        let frame = Frame::decode(frame).map_err(|error| error.to_string())?;
        if frame.kind == Kind::Chain {
            chain::run(&mut self.functions, &self.passing, frame, &mut answer)?;
            return Ok(answer.finish());
        }
        let Some(Some(function)) = self.functions.get_mut(node as usize) else {
            return Err(format!("node {node} has no function in this plugin"));
        };
        let mut call = Call { frame, answer };
        function(&mut call).map_err(|failure| failure.message)?;
        Ok(call.answer.finish())
    }
}
