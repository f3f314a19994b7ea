//! The vocabulary every other room speaks: one [`Exchange`] is one request to an inference server and what came of it.
//!
//! Plain data. Every field is an integer, a closed enum or a list of those: no type in this room can hold text, so
//! nothing of a prompt, an answer or a credential can travel in one. Times are microseconds on a monotonic clock
//! (`_us`), sizes are bytes (`_bytes`), counts of tokens say where the count came from ([`TokenSource`]).

mod buckets;
mod cache;
mod counts;
mod endpoint;
mod exchange;
mod frames;
mod gaps;
mod ids;
mod media_type;
mod outcome;
mod reader;
mod request;
mod response;
mod tensor;
mod trail;

pub use cache::{CacheLife, CacheMark, CachePlace};
pub use endpoint::{Dialect, Endpoint, Method};
pub use exchange::{Exchange, ShapeStatus};
pub use frames::{FrameShape, FrameSizes, FrameSizesError};
pub use gaps::{GapSketch, GapSketchError};
pub use ids::{BlockId, ClientId, ModelId, SessionId, TraceTime};
pub use media_type::MediaType;
pub use outcome::Outcome;
pub use request::{
    BlockSpec, BlockUnit, MediaKind, MediaPart, MessageShape, PictureFormat, PictureHead,
    ReasoningEffort, RequestParams, RequestShape, Role, Structured, TokenCount, TokenSource,
    ToolsShape, VectorEncoding,
};
pub use response::{FinishReason, ResponseShape};
pub use tensor::{Dimensions, TensorShape, TensorType};
pub use trail::GapTrail;
