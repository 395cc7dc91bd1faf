//! The operators a description may name, and those that the graph makes of them.

use std::ops::RangeInclusive;

/// What a node does. The names are those of `wit/topology.schema.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Source,
    TableSource,
    /// Reads all partitions of a topic into a table that every task can look up. In no subtopology: its records go through
    /// no task.
    GlobalTableSource,
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
    /// A stream read as a table.
    ToTable,
    /// A table's changes under other keys, for the three behind it.
    TableGroupBy,
    TableCount,
    TableReduce,
    TableAggregate,
    /// Holds a table's changes back.
    Suppress,
    /// Aggregates several streams into one table.
    Cogroup,
    /// Two streams, in windows of time. In a description it is the whole join; the graph puts a node for each side in
    /// front of it.
    StreamJoin,
    /// A stream join's left side. Only in the graph, as the right one.
    StreamJoinThis,
    StreamJoinOther,
    StreamTableJoin,
    /// A stream with a global table, by a key that the guest makes of each record.
    StreamGlobalJoin,
    /// Two tables. In a description it is the whole join; the graph puts a node for each side in front of it.
    TableJoin,
    /// The changes of a table join's left side. Only in the graph, as those that follow.
    TableJoinThis,
    /// The changes of its right side.
    TableJoinOther,
    /// Two tables by a key in the left one's values. In a description it is the whole join; in the graph its result,
    /// behind the nodes that follow.
    ForeignKeyJoin,
    /// Tells the partition of a foreign key who is interested in it.
    ForeignKeySend,
    /// Writes that to a topic.
    Subscription,
    /// Keeps who is interested, and answers.
    ForeignKeyReceive,
    /// Answers all who are interested in a right key that changes.
    ForeignKeyChange,
    /// Writes the answers to a topic.
    Response,
    /// Joins an answer with the left row that asked for it.
    ForeignKeyResolve,
    Process,
    Sink,
    /// Asks the guest where a sink's records go; its children are the sinks. Only in the graph.
    Route,
}

/// What flows out of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Stream,
    Table,
    /// A grouped table: changes under their new keys.
    Grouped,
    /// A global table, which is only looked up.
    Global,
    Nothing,
}

/// The names of a description.
const NAMES: [(&str, Operator); 35] = [
    ("source", Operator::Source),
    ("table-source", Operator::TableSource),
    ("global-table-source", Operator::GlobalTableSource),
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
    ("to-table", Operator::ToTable),
    ("table-group-by", Operator::TableGroupBy),
    ("table-count", Operator::TableCount),
    ("table-reduce", Operator::TableReduce),
    ("table-aggregate", Operator::TableAggregate),
    ("suppress", Operator::Suppress),
    ("cogroup", Operator::Cogroup),
    ("stream-join", Operator::StreamJoin),
    ("stream-table-join", Operator::StreamTableJoin),
    ("stream-global-join", Operator::StreamGlobalJoin),
    ("table-join", Operator::TableJoin),
    ("foreign-key-join", Operator::ForeignKeyJoin),
    ("process", Operator::Process),
    ("sink", Operator::Sink),
];

/// The names of what stands in graphs only.
const INNER_NAMES: [(&str, Operator); 12] = [
    ("repartition-source", Operator::RepartitionSource),
    ("stream-join-this", Operator::StreamJoinThis),
    ("stream-join-other", Operator::StreamJoinOther),
    ("table-join-this", Operator::TableJoinThis),
    ("table-join-other", Operator::TableJoinOther),
    ("foreign-key-send", Operator::ForeignKeySend),
    ("subscription", Operator::Subscription),
    ("foreign-key-receive", Operator::ForeignKeyReceive),
    ("foreign-key-change", Operator::ForeignKeyChange),
    ("response", Operator::Response),
    ("foreign-key-resolve", Operator::ForeignKeyResolve),
    ("route", Operator::Route),
];

impl Operator {
    pub fn parse(name: &str) -> Option<Operator> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }

    pub fn name(self) -> &'static str {
        let mut all = NAMES.iter().chain(&INNER_NAMES);
        all.find(|(_, operator)| *operator == self).map_or("unnamed", |(name, _)| name)
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    pub fn is_source(self) -> bool {
        matches!(self, Operator::Source | Operator::TableSource | Operator::RepartitionSource)
    }

    /// Whether it reads a topic from outside.
    pub fn reads_external(self) -> bool {
        matches!(self, Operator::Source | Operator::TableSource | Operator::GlobalTableSource)
    }

    /// Whether it writes a topic of the application's own, which its reading side, right behind it in the graph, reads.
    pub fn is_repartition(self) -> bool {
        matches!(self, Operator::Repartition | Operator::Subscription | Operator::Response)
    }

    /// Whether it writes a topic.
    pub fn is_sink(self) -> bool {
        self == Operator::Sink || self.is_repartition()
    }

    /// Whether a description says how it joins.
    pub fn joins(self) -> bool {
        use Operator::*;
        matches!(self, StreamJoin | StreamTableJoin | StreamGlobalJoin | TableJoin | ForeignKeyJoin)
    }

    /// How many inputs a description may give it.
    pub fn inputs(self) -> RangeInclusive<usize> {
        match self {
            _ if self.is_source() || self.reads_external() => 0..=0,
            _ if self.joins() => 2..=2,
            Operator::Merge | Operator::Process | Operator::Cogroup => 1..=usize::MAX,
            _ => 1..=1,
        }
    }

    /// What it takes from its input of this rank; `None` for sources.
    pub fn takes(self, rank: usize) -> Option<Flow> {
        use Operator::*;
        match self {
            Source | TableSource | GlobalTableSource | RepartitionSource => None,
            StreamGlobalJoin if rank == 1 => Some(Flow::Global),
            StreamTableJoin if rank == 0 => Some(Flow::Stream),
            TableFilter | TableFilterNot | TableMapValues | ToStream | Suppress | TableGroupBy | StreamTableJoin
            | TableJoin | TableJoinThis | TableJoinOther | ForeignKeyJoin | ForeignKeySend | ForeignKeyChange => {
                Some(Flow::Table)
            }
            TableCount | TableReduce | TableAggregate => Some(Flow::Grouped),
            Filter | FilterNot | Map | MapValues | FlatMap | FlatMapValues | SelectKey | Peek | Branch | Merge
            | Repartition | Count | Reduce | Aggregate | ToTable | Cogroup | StreamJoin | StreamJoinThis
            | StreamJoinOther | StreamGlobalJoin | Subscription | ForeignKeyReceive | Response | ForeignKeyResolve
            | Process | Sink | Route => Some(Flow::Stream),
        }
    }

    /// What it gives to its children.
    pub fn gives(self) -> Flow {
        use Operator::*;
        match self {
            TableSource | Count | Reduce | Aggregate | TableFilter | TableFilterNot | TableMapValues | ToTable
            | TableCount | TableReduce | TableAggregate | Suppress | Cogroup | TableJoin | TableJoinThis
            | TableJoinOther | ForeignKeyJoin => Flow::Table,
            TableGroupBy => Flow::Grouped,
            GlobalTableSource => Flow::Global,
            Repartition | Subscription | Response | Sink => Flow::Nothing,
            Source | RepartitionSource | Filter | FilterNot | Map | MapValues | FlatMap | FlatMapValues | SelectKey
            | Peek | Branch | Merge | ToStream | StreamJoin | StreamJoinThis | StreamJoinOther | StreamTableJoin
            | StreamGlobalJoin | ForeignKeySend | ForeignKeyReceive | ForeignKeyChange | ForeignKeyResolve
            | Process | Route => Flow::Stream,
        }
    }

    /// Whether it may change a record's key; a node may say that it does not.
    pub(super) fn rekeys(self) -> bool {
        use Operator::*;
        matches!(self, Map | FlatMap | SelectKey | TableGroupBy | Process)
    }

    /// Whether it goes by the record's key, so that all records of a key must be in one partition.
    pub fn goes_by_key(self) -> bool {
        use Operator::*;
        self.aggregates() || matches!(self, ToTable | StreamJoinThis | StreamJoinOther | StreamTableJoin)
    }

    /// Whether it keeps aggregates, in a store that it must have.
    pub fn aggregates(self) -> bool {
        use Operator::*;
        matches!(self, Count | Reduce | Aggregate | TableCount | TableReduce | TableAggregate | Cogroup)
    }

    /// Whether it must have a store of its own.
    pub fn needs_store(self) -> bool {
        self.aggregates() || self == Operator::Suppress
    }

    /// Whether it may make windows of what it aggregates.
    pub fn makes_windows(self) -> bool {
        use Operator::*;
        matches!(self, Count | Reduce | Aggregate | Cogroup)
    }

    /// Whether its store may be of this kind.
    pub fn keeps(self, kind: &str) -> bool {
        match self {
            Operator::Process => true,
            // What a suppression holds back is no table that has been.
            Operator::Suppress => kind == "key-value",
            _ if self.gives() == Flow::Table => matches!(kind, "key-value" | "versioned"),
            _ => kind == "key-value",
        }
    }

    /// Whether one element in can become several elements out, for one child.
    pub fn multiplies(self) -> bool {
        use Operator::*;
        matches!(
            self,
            FlatMap
                | FlatMapValues
                | TableGroupBy
                | Suppress
                | StreamJoinThis
                | StreamJoinOther
                | ForeignKeySend
                | ForeignKeyReceive
                | ForeignKeyChange
                | Process
        )
    }
}
