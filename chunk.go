package ssegin

import "strconv"

// lastChunk ends a chunked response (RFC 9112 §7.1).
const lastChunk = "0\r\n\r\n"

// chunkRoom is what the head of a chunk needs at the most (RFC 9112 §7.1).
const chunkRoom = len("ffffffff\r\n")

// framed returns the batch as a chunk, or as it is: in one piece, but for a large
// frame, which is written from where the log has it.
func (b *batch) framed(chunked bool) []piece {
	pieces := b.pieces[:0]
	if !chunked {
		if b.large != nil {
			pieces = append(pieces, piece{b.large, true})
		}
		b.pieces = append(pieces, piece{bytes: b.data[b.room:]})
		return b.pieces
	}
	var head [chunkRoom]byte
	size := append(strconv.AppendUint(head[:0], uint64(b.size()), 16), "\r\n"...)
	start := b.room - len(size)
	copy(b.data[start:], size)
	b.data = append(b.data, "\r\n"...)
	if b.large != nil {
		b.pieces = append(pieces, piece{bytes: b.data[start:b.room]}, piece{b.large, true}, piece{bytes: b.data[b.room:]})
	} else {
		b.pieces = append(pieces, piece{bytes: b.data[start:]})
	}
	return b.pieces
}
