//! Whatever the bytes, and however they are cut into pieces: the decoder of the bridge never panics, keeps no more than a frame
//! may be long, and finds the same frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane_kernel::untrusted::frame::{BODY_LEN_MAX, Decoder, FrameError, encode};

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how long the pieces are.
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let whole = read(&[stream]);
    let pieces: Vec<_> = stream.chunks(usize::from(*piece).max(1)).collect();
    assert_eq!(whole, read(&pieces), "pieces make a difference");
    // What is said comes back as it was.
    let frame = encode(stream);
    assert_eq!(read(&[&frame]).0, [stream], "a frame is not what was put into it");
});

/// The frames until the stream ends, or cannot be read on.
fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<FrameError>, bool) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            let before = piece.len();
            match decoder.read(&mut piece) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= BODY_LEN_MAX);
                    frames.push(frame.to_vec());
                }
                Ok(None) => assert!(piece.is_empty(), "bytes were left without a frame"),
                Err(error) => return (frames, Some(error), false),
            }
            // One that is empty is whole with its header.
            assert!(piece.len() < before || before == 0, "nothing was taken");
        }
    }
    let between = decoder.is_between();
    (frames, None, between)
}
