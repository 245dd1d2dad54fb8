//! A client daemon that says what a test wants it to say, over a real socket and in the real frames.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use farcc::engine::wire::frame::{FrameDecoder, decode, encode};
use farcc::engine::wire::local::{CompileRequest, Finished, FinishedOutput, FromDaemon, GREETING, Placing, ToDaemon};
use farcc::model::job::Bytes;

/// Serves connections, one after the other, until the test has got all it expects.
pub(crate) struct FakeDaemon {
    pub(crate) socket: PathBuf,
    thread: Option<JoinHandle<()>>,
    dir: tempfile::TempDir,
}

impl FakeDaemon {
    /// One connection, from its first byte; `script` drops it when it is done.
    pub(crate) fn raw(script: impl FnOnce(Conversation) + Send + 'static) -> Self {
        Self::serving(1, {
            let mut script = Some(script);
            move |conversation| script.take().unwrap()(conversation)
        })
    }

    /// One connection whose opening has been read.
    pub(crate) fn with(script: impl FnOnce(Conversation, ToDaemon) + Send + 'static) -> Self {
        Self::raw(|mut conversation| {
            let message = conversation.hear_opening();
            script(conversation, message);
        })
    }

    /// `connections` of them.
    pub(crate) fn serving(connections: usize, mut script: impl FnMut(Conversation) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("client.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = std::thread::spawn(move || {
            for _ in 0..connections {
                let (stream, _) = listener.accept().unwrap();
                script(Conversation { stream, decoder: FrameDecoder::new(), descriptors: Vec::new() });
            }
        });
        Self { socket, thread: Some(thread), dir }
    }

    /// Waits for the script's end; its assertions are the test's.
    pub(crate) fn finish(mut self) {
        if let Err(panic) = self.thread.take().unwrap().join() {
            std::panic::resume_unwind(panic);
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

pub(crate) struct Conversation {
    pub(crate) stream: UnixStream,
    decoder: FrameDecoder,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Conversation {
    /// Greeting and first message; descriptors are kept.
    pub(crate) fn hear_opening(&mut self) -> ToDaemon {
        let mut greeting = Vec::new();
        while greeting.len() < GREETING.len() {
            let read = self.read(GREETING.len() - greeting.len());
            assert!(!read.is_empty(), "the connection ends within the greeting");
            greeting.extend(read);
        }
        assert_eq!(greeting, GREETING);
        self.hear().expect("an opening")
    }

    /// The next message; none at the end of the connection.
    pub(crate) fn hear(&mut self) -> Option<ToDaemon> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(decode(frame).unwrap());
            }
            let read = self.read(64 << 10);
            if read.is_empty() {
                return None;
            }
            self.decoder.push(&read);
        }
    }

    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        // A peer that is killed with bytes unread resets the connection: its end, here.
        let received = recvmsg(&self.stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).map_or(0, |r| r.bytes);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        buffer.truncate(received);
        buffer
    }

    pub(crate) fn say(&mut self, message: &FromDaemon) {
        self.stream.write_all(&encode(message).unwrap()).unwrap();
    }

    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Message and descriptors, these with its first byte.
    pub(crate) fn say_with(&mut self, message: &FromDaemon, files: &[File]) {
        let frame = encode(message).unwrap();
        let descriptors: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let mut space = vec![MaybeUninit::uninit(); 2048];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let sent = sendmsg(&self.stream, &[IoSlice::new(&frame)], &mut control, SendFlags::empty()).unwrap();
        self.stream.write_all(&frame[sent..]).unwrap();
    }

    /// A result with these outputs: path, content, executable.
    pub(crate) fn say_finished(&mut self, stdout: &[u8], stderr: &[u8], outputs: &[(&Path, &[u8], bool)]) {
        let files: Vec<File> = outputs.iter().map(|(_, content, _)| blob(content)).collect();
        let outputs = outputs.iter().map(|&(path, content, executable)| output(path, content.len() as u64, executable));
        self.say_with(&finished(stdout, stderr, outputs.collect()), &files);
    }

    /// A result with one output.
    pub(crate) fn say_placed(&mut self, path: &Path, content: &[u8], placing: Placing) {
        let output = FinishedOutput { placing, ..output(path, content.len() as u64, false) };
        self.say_with(&finished(b"", b"", vec![output]), &[blob(content)]);
    }
}

pub(crate) fn finished(stdout: &[u8], stderr: &[u8], outputs: Vec<FinishedOutput>) -> FromDaemon {
    FromDaemon::Finished(Finished {
        builder: "b1".into(),
        stdout: Bytes::from(stdout),
        stderr: Bytes::from(stderr),
        outputs,
    })
}

pub(crate) fn output(path: &Path, size: u64, executable: bool) -> FinishedOutput {
    use std::os::unix::ffi::OsStrExt;
    let is_object = path.extension().is_some_and(|extension| extension == "o");
    let placing = if is_object { Placing::Removed } else { Placing::InPlace };
    FinishedOutput { path: Bytes::from(path.as_os_str().as_bytes()), size, executable, placing }
}

/// A file without a name; its own offset stands at the end, as a daemon's may.
pub(crate) fn blob(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

pub(crate) fn compile_request(message: ToDaemon) -> CompileRequest {
    match message {
        ToDaemon::Compile(request) => request,
        other => panic!("not a compile: {other:?}"),
    }
}
