use crate::anonymise::Recordable;
use crate::record::tape::ledger::Charge;

/// What the observer asks of the writer.
pub(in crate::record) enum Order {
    /// Close the file and begin the next, in which these are in flight.
    Begin { generation: u64, open: Vec<Open> },
    /// Keep an exchange that is in flight in the file of this generation.
    Open { generation: u64, open: Open },
    /// One that is open will not be kept.
    Forget { generation: u64, id: u64 },
    /// Keep an exchange in the file of this generation.
    Keep {
        generation: u64,
        id: u64,
        recordable: Box<Recordable>,
        charge: Charge,
    },
}

/// An exchange that is in flight, as it stands.
pub(in crate::record) struct Open {
    pub(in crate::record) id: u64,
    pub(in crate::record) recordable: Box<Recordable>,
    pub(in crate::record) charge: Charge,
}

/// Orders that can wait; they weigh on the ledger too.
pub(in crate::record) const ORDERS: usize = 4096;
