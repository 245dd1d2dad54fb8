//! What peers send: frames, and every message that one of them may hold.
#![no_main]

use farcc::engine::wire::farm::{
    BuilderToScheduler, ClientToScheduler, Greeting, Hello, JobReply, JobRequest, SchedulerToBuilder,
    SchedulerToClient, ToolchainOffer, ToolchainReply,
};
use farcc::engine::wire::frame::{FrameDecoder, decode};
use farcc::engine::wire::local::{FromDaemon, ToDaemon};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut frames = FrameDecoder::with_limit(4096);
    frames.push(bytes);
    while let Ok(Some(frame)) = frames.next_frame() {
        messages(frame);
    }
    // Lengths are seldom right by chance.
    messages(bytes);
});

fn messages(frame: &[u8]) {
    decode::<ToDaemon>(frame).ok();
    decode::<FromDaemon>(frame).ok();
    decode::<Hello>(frame).ok();
    decode::<Greeting>(frame).ok();
    decode::<ClientToScheduler>(frame).ok();
    decode::<SchedulerToClient>(frame).ok();
    decode::<BuilderToScheduler>(frame).ok();
    decode::<SchedulerToBuilder>(frame).ok();
    decode::<JobRequest>(frame).ok();
    decode::<JobReply>(frame).ok();
    decode::<ToolchainOffer>(frame).ok();
    decode::<ToolchainReply>(frame).ok();
}
