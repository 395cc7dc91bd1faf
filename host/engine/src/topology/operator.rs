//! The operators a description may name.

/// What a node does. The names are those of `wit/topology.schema.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Source,
    TableSource,
    Filter,
    FilterNot,
    Map,
    MapValues,
    FlatMap,
    FlatMapValues,
    SelectKey,
    Peek,
    Branch,
    Merge,
    /// Writes the stream to a repartition topic. In a description it also reads it back; the graph splits it.
    Repartition,
    /// Reads a repartition topic. Only in the graph.
    RepartitionSource,
    Count,
    Reduce,
    Aggregate,
    TableFilter,
    TableFilterNot,
    TableMapValues,
    ToStream,
    Process,
    Sink,
}

/// What flows out of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Stream,
    Table,
    Nothing,
}

const NAMES: [(&str, Operator); 22] = [
    ("source", Operator::Source),
    ("table-source", Operator::TableSource),
    ("filter", Operator::Filter),
    ("filter-not", Operator::FilterNot),
    ("map", Operator::Map),
    ("map-values", Operator::MapValues),
    ("flat-map", Operator::FlatMap),
    ("flat-map-values", Operator::FlatMapValues),
    ("select-key", Operator::SelectKey),
    ("peek", Operator::Peek),
    ("branch", Operator::Branch),
    ("merge", Operator::Merge),
    ("repartition", Operator::Repartition),
    ("count", Operator::Count),
    ("reduce", Operator::Reduce),
    ("aggregate", Operator::Aggregate),
    ("table-filter", Operator::TableFilter),
    ("table-filter-not", Operator::TableFilterNot),
    ("table-map-values", Operator::TableMapValues),
    ("to-stream", Operator::ToStream),
    ("process", Operator::Process),
    ("sink", Operator::Sink),
];

impl Operator {
    pub fn parse(name: &str) -> Option<Operator> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }

    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, operator)| *operator == self).map_or("repartition-source", |(name, _)| name)
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    pub fn is_source(self) -> bool {
        matches!(self, Operator::Source | Operator::TableSource | Operator::RepartitionSource)
    }

    /// What it takes from its inputs; `None` for sources.
    pub fn takes(self) -> Option<Flow> {
        use Operator::*;
        match self {
            Source | TableSource | RepartitionSource => None,
            TableFilter | TableFilterNot | TableMapValues | ToStream => Some(Flow::Table),
            Filter | FilterNot | Map | MapValues | FlatMap | FlatMapValues | SelectKey | Peek | Branch | Merge
            | Repartition | Count | Reduce | Aggregate | Process | Sink => Some(Flow::Stream),
        }
    }

    /// What it gives to its children.
    pub fn gives(self) -> Flow {
        use Operator::*;
        match self {
            TableSource | Count | Reduce | Aggregate | TableFilter | TableFilterNot | TableMapValues => Flow::Table,
            Repartition | Sink => Flow::Nothing,
            Source | RepartitionSource | Filter | FilterNot | Map | MapValues | FlatMap | FlatMapValues | SelectKey
            | Peek | Branch | Merge | ToStream | Process => Flow::Stream,
        }
    }

    /// Whether it may change a record's key, so that what aggregates behind it needs a repartition topic.
    pub fn rekeys(self) -> bool {
        matches!(self, Operator::Map | Operator::FlatMap | Operator::SelectKey | Operator::Process)
    }

    /// Whether it goes by the record's key, so that all records of a key must be in one partition.
    pub fn groups(self) -> bool {
        matches!(self, Operator::Count | Operator::Reduce | Operator::Aggregate)
    }

    /// Whether one element in can become several elements out, for one child.
    pub fn multiplies(self) -> bool {
        matches!(self, Operator::FlatMap | Operator::FlatMapValues | Operator::Process)
    }

    /// Whether the guest is called for it.
    pub fn calls(self) -> bool {
        use Operator::*;
        match self {
            Filter | FilterNot | Map | MapValues | FlatMap | FlatMapValues | SelectKey | Peek | Branch | Reduce
            | Aggregate | TableFilter | TableFilterNot | TableMapValues | Process => true,
            Source | TableSource | RepartitionSource | Merge | Repartition | Count | ToStream | Sink => false,
        }
    }
}
